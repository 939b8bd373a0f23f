//! Groups: subscriptions whose records are shared among members.
//!
//! Members finish records in any order. So a group keeps, beside its position, which later records
//! are acknowledged. Copies at different replicas merge by union, without coordination. Two sides
//! of a partition may lease the same record; afterwards both know what the other's members did.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{Cursor, LogId, Runs};
use crate::limits::{FRONTIER_LOGS_MAX, GROUP_RUNS_MAX, SEQUENCE_MAX};

/// One run of a member: 128 random bits, drawn when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct MemberId(#[cbor(with = "minicbor::bytes")] pub [u8; 16]);

/// What a group has done after its position.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Progress {
    /// The records after the position that are acknowledged.
    #[cbor(n(0), decode_with = "bounded_logs")]
    pub done: BTreeMap<LogId, Runs>,
    /// Up to where records were leased to members. A member may hold any of them that is not
    /// acknowledged.
    #[cbor(n(1), decode_with = "bounded_logs")]
    pub given: BTreeMap<LogId, u64>,
    /// How often unacknowledged records were leased, if more than once.
    #[cbor(n(2), decode_with = "bounded_logs")]
    pub deliveries: BTreeMap<LogId, Deliveries>,
}

/// How often records of a log were leased, by sequence number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Deliveries(#[cbor(decode_with = "bounded_counts")] pub BTreeMap<u64, u32>);

impl Progress {
    /// Whether a record after the position is acknowledged.
    pub fn is_done(&self, log: &LogId, number: u64) -> bool {
        self.done.get(log).is_some_and(|runs| runs.contains(number))
    }

    /// How often a record was leased, as far as that is known.
    pub fn deliveries(&self, log: &LogId, number: u64) -> u32 {
        let counted = self.deliveries.get(log).and_then(|counts| counts.0.get(&number)).copied();
        let given = self.given.get(log).is_some_and(|given| number < *given);
        counted.unwrap_or_default().max(u32::from(given))
    }

    /// How many records after the position are acknowledged.
    pub fn records_done(&self) -> u64 {
        self.done.values().map(Runs::count).fold(0, u64::saturating_add)
    }

    /// Merges what `other` knows.
    pub fn merge(&mut self, other: &Self) {
        for (log, runs) in &other.done {
            let mine = self.done.entry(*log).or_default();
            for (from, to) in runs.iter() {
                mine.insert(from, to);
            }
        }
        for (log, given) in &other.given {
            let mine = self.given.entry(*log).or_default();
            *mine = (*mine).max(*given);
        }
        for (log, counts) in &other.deliveries {
            let mine = self.deliveries.entry(*log).or_default();
            for (number, count) in &counts.0 {
                let mine = mine.0.entry(*number).or_default();
                *mine = (*mine).max(*count);
            }
        }
    }

    /// Drops what the position covers, and what exceeds a limit: that is done again then.
    pub fn settle(&mut self, position: &Cursor) {
        let mut runs_left = GROUP_RUNS_MAX;
        self.done.retain(|log, runs| {
            runs.remove_below(position.next(log));
            runs.truncate(runs_left);
            runs_left -= runs.len();
            !runs.is_empty()
        });
        self.given.retain(|log, given| *given > position.next(log));
        let mut counts_left = GROUP_RUNS_MAX;
        let done = &self.done;
        self.deliveries.retain(|log, counts| {
            let done = done.get(log);
            let is_done = |number| done.is_some_and(|runs| runs.contains(number));
            counts.0.retain(|number, _| *number >= position.next(log) && !is_done(*number));
            while counts.0.len() > counts_left {
                counts.0.pop_last();
            }
            counts_left -= counts.0.len();
            !counts.0.is_empty()
        });
    }

    /// Drops everything at or after `end`: those records do not exist yet.
    pub fn limit(&mut self, end: &Cursor) {
        for (log, runs) in &mut self.done {
            runs.remove_from(end.next(log));
        }
        for (log, given) in &mut self.given {
            *given = (*given).min(end.next(log));
        }
        for (log, counts) in &mut self.deliveries {
            counts.0.split_off(&end.next(log));
        }
    }

    /// The logs that it says anything of.
    pub(super) fn logs(&self) -> impl Iterator<Item = &LogId> {
        self.done.keys().chain(self.given.keys()).chain(self.deliveries.keys())
    }

    /// Whether one from another node is within limits.
    pub fn is_well_formed(&self) -> bool {
        let logs = [self.done.len(), self.given.len(), self.deliveries.len()];
        let runs: usize = self.done.values().map(Runs::len).sum();
        let counts: usize = self.deliveries.values().map(|counts| counts.0.len()).sum();
        logs.into_iter().all(|logs| logs <= FRONTIER_LOGS_MAX)
            && runs <= GROUP_RUNS_MAX
            && counts <= GROUP_RUNS_MAX
            && self.given.values().all(|given| *given <= SEQUENCE_MAX)
    }
}

fn bounded_logs<'b, C, T: Decode<'b, C>>(
    decoder: &mut minicbor::Decoder<'b>,
    context: &mut C,
) -> Result<BTreeMap<LogId, T>, minicbor::decode::Error> {
    bounded_map(FRONTIER_LOGS_MAX, decoder, context)
}

fn bounded_counts<C>(
    decoder: &mut minicbor::Decoder<'_>,
    context: &mut C,
) -> Result<BTreeMap<u64, u32>, minicbor::decode::Error> {
    bounded_map(GROUP_RUNS_MAX, decoder, context)
}

fn bounded_map<'b, C, K: Decode<'b, C> + Ord, V: Decode<'b, C>>(
    items_max: usize,
    decoder: &mut minicbor::Decoder<'b>,
    context: &mut C,
) -> Result<BTreeMap<K, V>, minicbor::decode::Error> {
    match decoder.map()? {
        Some(length) if length <= items_max as u64 => (0..length)
            .map(|_| Ok((K::decode(decoder, context)?, V::decode(decoder, context)?)))
            .collect(),
        Some(_) | None => Err(minicbor::decode::Error::message("more items than are allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, NodeId, Position, TopicId};

    fn log(number: u64) -> LogId {
        LogId { writer: NodeId::from_bytes([1; 32]), incarnation: Incarnation(number) }
    }

    fn at(next: u64) -> Cursor {
        let mut cursor = Cursor::start(TopicId::from_bytes([2; 32]));
        cursor.logs.insert(log(1), Position { next, head: None });
        cursor
    }

    fn progress(done: &[(u64, u64)], given: u64, counts: &[(u64, u32)]) -> Progress {
        let mut runs = Runs::default();
        for (from, to) in done {
            runs.insert(*from, *to);
        }
        let counts = Deliveries(counts.iter().copied().collect());
        Progress {
            done: [(log(1), runs)].into(),
            given: [(log(1), given)].into(),
            deliveries: [(log(1), counts)].into(),
        }
    }

    #[test]
    fn copies_merge_to_the_same_whoever_takes_over_from_whom() {
        let one = progress(&[(3, 5), (8, 9)], 9, &[(5, 2), (6, 4)]);
        let other = progress(&[(5, 6), (20, 22)], 22, &[(6, 3), (7, 2)]);
        let (mut left, mut right) = (one.clone(), other.clone());
        left.merge(&other);
        right.merge(&one);
        left.settle(&at(2));
        right.settle(&at(2));
        assert_eq!(left, right);
        assert_eq!(left, progress(&[(3, 6), (8, 9), (20, 22)], 22, &[(6, 4), (7, 2)]));
        assert_eq!(left.records_done(), 6);
        assert_eq!(left.deliveries(&log(1), 6), 4);
        assert_eq!(left.deliveries(&log(1), 2), 1, "given, and not more than once");
        assert_eq!(left.deliveries(&log(1), 22), 0);
    }

    #[test]
    fn nothing_is_said_of_what_the_position_says_nor_of_what_does_not_exist() {
        let mut kept = progress(&[(3, 5), (8, 12)], 40, &[(6, 2), (7, 2), (30, 2)]);
        kept.limit(&at(10));
        kept.settle(&at(7));
        assert_eq!(kept, progress(&[(8, 10)], 10, &[(7, 2)]));
        kept.settle(&at(10));
        assert_eq!(kept, Progress::default());
    }
}
