//! Logs of writers that nobody has admitted.
//!
//! A network that was open is closed while its nodes go on. Who wrote to it unseen has no pass. A
//! node that has its records keeps them, and says so once. It shows them to nobody, until an admin
//! makes them count: others, and readers, would take them for a lie. No such log is taken in later,
//! so they are looked for at the start alone. In a network that never was open there are none: who
//! is no member of it any more was one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Counts;
use crate::{
    engine::{Engine, output::Report},
    limits::{UNADMITTED_NAMED_AFTER, UNADMITTED_NAMED_MAX},
    model::{Cursor, Frontier, LogId, NodeId, TopicId, roster::TopicIds},
};

/// Such logs.
#[derive(Debug)]
pub(super) struct Unadmitted {
    logs: BTreeMap<TopicId, BTreeSet<LogId>>,
    /// When their writers are named; none after that.
    named_at: Option<Duration>,
}

impl Default for Unadmitted {
    fn default() -> Self {
        // What admits a writer may come with the first comparisons.
        Self { logs: BTreeMap::new(), named_at: Some(UNADMITTED_NAMED_AFTER) }
    }
}

impl Unadmitted {
    pub(super) fn on_topic_deleted(&mut self, topic: TopicId) {
        self.logs.remove(&topic);
    }
}

impl Engine {
    /// Looks for such logs in all topics.
    pub(super) fn find_unadmitted(&mut self) {
        let Some(known) = &self.roster.0 else { return };
        if known.roster.charter().terms().topic_ids != TopicIds::ByName {
            return;
        }
        let all = self.core.topics.iter().map(|topic| {
            let logs = topic.logs.keys().copied().filter(|log| !self.is_admitted(&topic.id, log));
            (topic.id, logs.collect::<BTreeSet<_>>())
        });
        let found = all.filter(|(_, logs)| !logs.is_empty()).collect();
        if let Some(known) = &mut self.roster.0 {
            known.unadmitted.logs = found;
        }
    }

    /// Statements are news: some of these writers may be admitted now.
    pub(super) fn show_admitted(&mut self) {
        let Some(known) = &mut self.roster.0 else { return };
        let mut all = std::mem::take(&mut known.unadmitted.logs);
        all.retain(|topic, logs| {
            logs.retain(|log| !self.is_admitted(topic, log));
            !logs.is_empty()
        });
        if let Some(known) = &mut self.roster.0 {
            known.unadmitted.logs = all;
        }
    }

    fn is_admitted(&self, topic: &TopicId, log: &LogId) -> bool {
        self.counts(topic, log) != Counts::Nothing
    }

    fn unadmitted_in(&self, topic: &TopicId) -> Option<&BTreeSet<LogId>> {
        self.roster.0.as_ref()?.unadmitted.logs.get(topic)
    }

    /// Leaves them out of what this node shows that it holds.
    pub(in crate::engine) fn leave_out_unadmitted(&self, topic: TopicId, held: &mut Frontier) {
        if let Some(logs) = self.unadmitted_in(&topic) {
            held.0.retain(|log, _| !logs.contains(log));
        }
    }

    /// Leaves them out of the end that readers see.
    pub(in crate::engine) fn leave_unadmitted_out_of(&self, end: &mut Cursor) {
        if let Some(logs) = self.unadmitted_in(&end.topic) {
            end.logs.retain(|log, _| !logs.contains(log));
        }
    }

    /// Names their writers, once.
    pub(super) fn tick_unadmitted(&mut self) {
        let now = self.core.now.elapsed;
        let Some(Unadmitted { logs, named_at }) =
            self.roster.0.as_mut().map(|known| &mut known.unadmitted)
        else {
            return;
        };
        if named_at.is_none_or(|named_at| named_at > now) {
            return;
        }
        *named_at = None;
        let mut topics: BTreeMap<NodeId, BTreeSet<TopicId>> = BTreeMap::new();
        for (topic, logs) in logs {
            for log in logs.iter() {
                topics.entry(log.writer).or_default().insert(*topic);
            }
        }
        for (writer, topics) in topics.into_iter().take(UNADMITTED_NAMED_MAX) {
            self.core.report(Report::UnadmittedWriter(writer, topics.len()));
        }
    }
}
