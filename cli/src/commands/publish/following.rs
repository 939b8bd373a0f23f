//! `publish --wait`: following what is pending until it has its copies.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use antiphon::model::{LogId, RecordId};
use antiphon_node::client::Pending;

use super::{records, tally::Stored};
use crate::{clock, printer::Printer, signals::Signals};

/// How long the node is asked for at a time: how old what is told may be.
const ASK_FOR: Duration = Duration::from_secs(1);

/// Records that are pending, by the log that they are in.
#[derive(Debug, Default)]
pub(super) struct Following {
    logs: BTreeMap<LogId, Vec<RecordId>>,
    /// The last of them.
    ends: BTreeMap<LogId, Pending>,
    count: u64,
}

/// What became of the records of one log.
pub(super) struct Followed {
    ids: Vec<RecordId>,
    /// The copies that the last one has in the end, which all of them have.
    last: Stored,
}

impl Followed {
    /// The records.
    pub(super) fn records(self) -> impl Iterator<Item = Stored> {
        self.ids.into_iter().map(move |id| Stored { id, ..self.last })
    }
}

impl Following {
    /// Follows a record that is pending; it is given back if it cannot be followed.
    pub(super) fn take(&mut self, pending: Pending) -> Option<Pending> {
        let Some(place) = pending.place() else { return Some(pending) };
        self.logs.entry(place.log).or_default().push(pending.id());
        let is_before = |last: &Pending| last.place().is_some_and(|last| last.to > place.to);
        if !self.ends.get(&place.log).is_some_and(is_before) {
            // An acknowledgement covers what comes before it, so the last one stands for all.
            self.ends.insert(place.log, pending);
        }
        self.count += 1;
        None
    }

    /// The records as they are, followed no further.
    pub(super) fn give_up(self) -> Vec<Followed> {
        let Self { logs, mut ends, .. } = self;
        let followed = logs.into_iter().filter_map(|(log, ids)| {
            ends.remove(&log).map(|last| Followed { ids, last: Stored::from(&last) })
        });
        followed.collect()
    }

    /// How many records are followed.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Follows the records until all have their copies, the time is over, or a signal comes.
    pub(super) async fn run(
        self,
        deadline: Option<Instant>,
        printer: &mut Printer,
    ) -> anyhow::Result<Vec<Followed>> {
        let mut signals = Signals::listen()?;
        let mut followed = Vec::new();
        let Self { logs, mut ends, .. } = self;
        let mut stopped = false;
        for (log, ids) in logs {
            let Some(mut pending) = ends.remove(&log) else { continue };
            let mut acknowledged = None;
            let mut told = None;
            while acknowledged.is_none() && !stopped {
                let now = (pending.copies(), pending.wanted());
                if told != Some(now) {
                    told = Some(now);
                    let (copies, wanted, count) = (now.0, now.1, records(ids.len() as u64));
                    printer.note(format_args!(
                        "pending: waiting for copies of {count} ({copies} of {wanted})"
                    ));
                }
                let left = deadline.map(|it| it.saturating_duration_since(clock::instant()));
                if left.is_some_and(|left| left.is_zero()) {
                    break;
                }
                let within = left.map_or(ASK_FOR, |left| left.min(ASK_FOR));
                tokio::select! {
                    () = signals.next() => stopped = true,
                    outcome = pending.wait_within(within) => acknowledged = outcome?,
                }
            }
            let last = acknowledged.map_or_else(|| Stored::from(&pending), Stored::from);
            followed.push(Followed { ids, last });
        }
        Ok(followed)
    }
}
