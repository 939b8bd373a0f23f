//! `publish --wait`: following what is pending until it has its copies.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use antiphon::{
    model::{LogId, RecordId, TopicName},
    wire::{Acks, LogRange, Published, Refusal},
};
use antiphon_node::client::{Client, Receipt, RequestError};

use super::records;
use crate::{clock, printer::Printer, signals::Signals};

/// How long the node is asked for at a time: how old what is told may be.
const ASK_FOR: Duration = Duration::from_secs(1);

/// Pause before the node is asked again that did not answer.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Records that are pending, by the log that they are in.
#[derive(Debug, Default)]
pub(super) struct Following {
    logs: BTreeMap<LogId, Vec<RecordId>>,
    ends: BTreeMap<LogId, (LogRange, Published)>,
    count: u64,
}

/// What became of the records of one log.
pub(super) struct Followed {
    /// The records.
    pub(super) ids: Vec<RecordId>,
    /// Their copies in the end.
    pub(super) published: Published,
}

impl Following {
    /// Takes a receipt, if it is one of a record that is pending and can be followed; else it is
    /// given back.
    pub(super) fn take(&mut self, receipt: Receipt) -> Option<Receipt> {
        let Some(place) = receipt.published.place.filter(|_| !receipt.published.acknowledged)
        else {
            return Some(receipt);
        };
        self.logs.entry(place.log).or_default().push(receipt.id);
        let end = self.ends.entry(place.log).or_insert((place, receipt.published));
        if end.0.to <= place.to {
            // An acknowledgement covers what comes before it, so the last one stands for all.
            *end = (place, receipt.published);
        }
        self.count += 1;
        None
    }

    /// The records as they are, followed no further.
    pub(super) fn give_up(self) -> Vec<Followed> {
        let Self { logs, mut ends, .. } = self;
        let followed = logs.into_iter().filter_map(|(log, ids)| {
            ends.remove(&log).map(|(_, published)| Followed { ids, published })
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
        client: &Client,
        topic: &TopicName,
        acks: Acks,
        deadline: Option<Instant>,
        printer: &mut Printer,
    ) -> anyhow::Result<Vec<Followed>> {
        let mut signals = Signals::listen()?;
        let mut followed = Vec::new();
        let Self { logs, mut ends, .. } = self;
        let mut stopped = false;
        for (log, ids) in logs {
            let Some((place, mut published)) = ends.remove(&log) else { continue };
            let mut told = None;
            while !published.acknowledged && !stopped {
                let now = (published.copies, published.wanted);
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
                    outcome = ask(client, topic, place, acks, within) => {
                        published = outcome?.unwrap_or(published);
                    }
                }
            }
            followed.push(Followed { ids, published });
        }
        Ok(followed)
    }
}

/// How many copies there are after so long, or as soon as there are enough; none when that could
/// not be found out for now.
async fn ask(
    client: &Client,
    topic: &TopicName,
    place: LogRange,
    acks: Acks,
    within: Duration,
) -> anyhow::Result<Option<Published>> {
    match client.wait_until_acknowledged(topic, place, acks, within).await {
        Ok(published) => Ok(Some(published)),
        // It may be started again meanwhile; the records are on its disk.
        Err(
            RequestError::Link(_) | RequestError::Refused(Refusal::Busy | Refusal::Stopping(_)),
        ) => {
            clock::sleep_until(clock::instant().checked_add(RETRY_PAUSE)).await;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
