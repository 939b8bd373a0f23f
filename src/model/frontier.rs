//! Frontiers: what a node holds of a topic, in a few bytes.

use std::{collections::BTreeMap, fmt};

use minicbor::{Decode, Encode};

use super::NodeId;
use crate::limits::{FRONTIER_LOGS_MAX, SEQUENCE_MAX, SPANS_MAX};

/// The BLAKE3 hash of an encoded header: the identity of a batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Hash(#[cbor(with = "minicbor::bytes")] pub [u8; 32]);

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// One unbroken life of a writer's data directory: 64 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Incarnation(#[n(0)] pub u64);

impl Incarnation {
    /// The incarnation under which a branch of a forked log is filed. It is derived from the hash
    /// of the branch's first batch. So every node files it under the same one, and nobody can have
    /// chosen it.
    pub fn of_branch(root: Hash) -> Self {
        let derived = blake3::derive_key("antiphon 2026-11 fork branch v1", &root.0);
        let (start, _) = derived.split_first_chunk().expect("32 bytes are more than 8");
        Self(u64::from_be_bytes(*start))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0 >> 32)
    }
}

/// Names a log within a topic: the batches of one writer in one incarnation. A writer begins a new
/// log if it was not stopped cleanly before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct LogId {
    /// The node that signs its batches.
    #[n(0)]
    pub writer: NodeId,
    /// The incarnation: a random number for one unbroken life of the writer's data directory.
    #[n(1)]
    pub incarnation: Incarnation,
}

impl fmt::Debug for LogId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}/{:?}", self.writer, self.incarnation)
    }
}

/// A part of a log without a gap: the records from `first` up to `next`, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Span {
    /// Sequence number of its first record.
    #[n(0)]
    pub first: u64,
    /// Sequence number after its last record.
    #[n(1)]
    pub next: u64,
    /// The batch that ends at `next`.
    #[n(2)]
    pub head: Hash,
}

/// What a node holds of one log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Entry {
    /// The low watermark: records below it were trimmed.
    #[n(0)]
    pub low: u64,
    /// What is held, in order; more than one span only while a gap is being repaired.
    #[n(1)]
    pub spans: Vec<Span>,
    /// The batch that ends at the low watermark, where that is known.
    #[n(2)]
    pub base: Option<Hash>,
}

impl Entry {
    /// The sequence number up to which nothing is missing above the low watermark.
    pub fn complete_to(&self) -> u64 {
        match self.spans.first() {
            Some(span) if span.first <= self.low => span.next,
            Some(_) | None => self.low,
        }
    }

    /// The sequence number of the first record held, or of the first one that would be.
    pub fn first(&self) -> u64 {
        self.spans.first().map_or(self.low, |span| span.first)
    }

    /// The end of the last span and its head; nothing when nothing is held.
    pub fn end(&self) -> Option<(u64, Hash)> {
        self.spans.last().map(|span| (span.next, span.head))
    }

    /// How far the log goes by this: where the last span ends, or where all was trimmed.
    pub fn goes_to(&self) -> u64 {
        self.end().map_or(0, |(next, _)| next).max(self.low)
    }

    /// Normalises the low watermark, so that two replicas that differ only in how far they trimmed
    /// have equal digests. Nothing may be missing above the watermark, or above that of another
    /// node if that is higher. The batch that ends there is included if it is known; two nodes use
    /// the same one.
    pub fn overlook_cut(&mut self, other: u64, other_base: Option<Hash>) {
        let (low, base) = (self.low, self.base).max((other, other_base));
        self.spans.retain(|span| span.next >= low);
        match (self.spans.first_mut(), base) {
            (Some(span), _) if span.first <= low => span.first = 0,
            (_, Some(head)) => self.spans.insert(0, Span { first: 0, next: low, head }),
            (_, None) => return,
        }
        (self.low, self.base) = (0, None);
    }

    /// Takes away what comes after `to`, where a batch of this hash ends. Whether there was any.
    pub fn end_at(&mut self, to: u64, head: Option<Hash>) -> bool {
        let is_beyond = self.goes_to() > to;
        self.spans.retain(|span| span.first < to);
        if let (Some(last), Some(head)) = (self.spans.last_mut().filter(|it| it.next > to), head) {
            (last.next, last.head) = (to, head);
        }
        if self.low > to {
            (self.low, self.base) = (to, head);
        }
        is_beyond
    }

    /// Number of records held.
    pub fn records(&self) -> u64 {
        self.spans.iter().map(|span| span.next.saturating_sub(span.first)).sum()
    }

    /// Whether every record from `from` up to `to`, exclusive, is held or was trimmed.
    pub fn covers(&self, from: u64, to: u64) -> bool {
        let from = from.max(self.low);
        from >= to || self.spans.iter().any(|span| span.first <= from && to <= span.next)
    }

    /// The end of the span that holds the record `at`.
    pub fn held_from(&self, at: u64) -> Option<u64> {
        self.spans.iter().find(|span| span.first <= at && at < span.next).map(|span| span.next)
    }

    /// The parts of `from` up to `to`, exclusive, that are missing, in order.
    pub fn missing(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        self.not_held(from.max(self.low), to)
    }

    /// The same, and what is below the low watermark: another node may hold it.
    pub fn not_held(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut at = from;
        let mut gaps = Vec::new();
        for span in &self.spans {
            if span.next <= at {
                continue;
            }
            if span.first >= to {
                break;
            }
            if span.first > at {
                gaps.push((at, span.first));
            }
            at = span.next;
        }
        if at < to {
            gaps.push((at, to));
        }
        gaps
    }

    fn is_well_formed(&self) -> bool {
        self.low <= SEQUENCE_MAX
            // One more than others may give it: a writer always lengthens its own log.
            && self.spans.len() <= SPANS_MAX + 1
            && self.spans.last().is_none_or(|span| span.next <= SEQUENCE_MAX)
            && self.spans.iter().all(|span| span.first < span.next)
            && self.spans.is_sorted_by(|one, two| one.next < two.first)
    }
}

/// What a node holds of a topic, per log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Frontier(#[n(0)] pub BTreeMap<LogId, Entry>);

impl Frontier {
    /// Number of records held.
    pub fn records(&self) -> u64 {
        self.0.values().map(Entry::records).sum()
    }

    /// A digest that is equal if the same is held. Two logs of one length with different content
    /// differ, because the heads are included.
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        minicbor::encode(self, &mut bytes).expect("writing to memory does not fail");
        blake3::hash(&bytes).into()
    }

    /// Whether a frontier from another node is within limits and in order.
    pub fn is_well_formed(&self) -> bool {
        self.0.len() <= FRONTIER_LOGS_MAX && self.0.values().all(Entry::is_well_formed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(low: u64, spans: &[(u64, u64)]) -> Entry {
        let span = |&(first, next)| Span { first, next, head: Hash([0; 32]) };
        Entry { low, spans: spans.iter().map(span).collect(), base: None }
    }

    #[test]
    fn missing_parts() {
        let held = entry(0, &[(0, 10), (20, 30)]);
        assert_eq!(held.missing(0, 40), [(10, 20), (30, 40)]);
        assert_eq!(held.missing(5, 25), [(10, 20)]);
        assert_eq!(held.missing(12, 15), [(12, 15)]);
        assert_eq!(held.missing(22, 30), []);
        assert_eq!(entry(7, &[]).missing(0, 9), [(7, 9)]);
        assert_eq!(entry(7, &[]).not_held(0, 9), [(0, 9)]);
        assert_eq!(entry(20, &[(20, 30)]).not_held(5, 40), [(5, 20), (30, 40)]);
        assert_eq!(held.not_held(15, 15), []);
        assert_eq!(entry(0, &[(50, 60)]).missing(0, 60), [(0, 50)]);
    }

    #[test]
    fn completeness() {
        assert_eq!(entry(0, &[(0, 10), (20, 30)]).complete_to(), 10);
        assert_eq!(entry(0, &[(20, 30)]).complete_to(), 0);
        assert_eq!(entry(20, &[(20, 30)]).complete_to(), 30);
        assert_eq!(entry(5, &[]).complete_to(), 5);
        assert!(entry(5, &[(5, 9)]).covers(0, 9));
        assert!(!entry(5, &[(6, 9)]).covers(0, 9));
        assert!(entry(0, &[]).covers(3, 3));
    }

    #[test]
    fn where_a_log_was_cut_is_overlooked() {
        let overlooked = |mut held: Entry, low| {
            held.overlook_cut(low, Some(Hash([0; 32])));
            held
        };
        let whole = overlooked(entry(0, &[(0, 10)]), 0);
        assert_eq!(overlooked(entry(7, &[(7, 10)]), 0), whole);
        assert_eq!(overlooked(entry(5, &[(5, 10)]), 7), whole);
        let gone = Entry { base: Some(Hash([0; 32])), ..entry(10, &[]) };
        assert_eq!(overlooked(gone, 0), whole);
        assert_eq!(overlooked(entry(0, &[(0, 3)]), 10), whole, "what was missing is gone as well");
        // A part is missing, unless somebody let it go.
        let gap = entry(0, &[(0, 3), (6, 10)]);
        assert_ne!(overlooked(gap.clone(), 0), whole);
        assert_eq!(overlooked(gap, 6), whole);
        assert_eq!(overlooked(entry(0, &[(6, 10)]), 10), whole, "all of it was let go elsewhere");
        // What is missing behind the watermark is missing wherever the log was cut before.
        let gap_behind = overlooked(entry(0, &[(0, 6), (8, 10)]), 6);
        let cut = Entry { base: Some(Hash([0; 32])), ..entry(6, &[(8, 10)]) };
        assert_eq!(overlooked(cut, 0), gap_behind);
        assert_eq!(overlooked(entry(0, &[(0, 4), (8, 10)]), 6), gap_behind);
        assert_ne!(gap_behind, whole);
        assert_ne!(overlooked(entry(0, &[(0, 9)]), 0), whole);
        assert_ne!(overlooked(entry(10, &[]), 0), whole, "of what the batch was is not known");
    }

    #[test]
    fn the_digest_sees_content_not_only_length() {
        let node = NodeId::from_bytes([1; 32]);
        let log = LogId { writer: node, incarnation: Incarnation(1) };
        let with_head = |head| {
            let spans = vec![Span { first: 0, next: 5, head: Hash([head; 32]) }];
            Frontier([(log, Entry { spans, ..Entry::default() })].into()).digest()
        };
        assert_ne!(with_head(1), with_head(2));
        assert_eq!(with_head(1), with_head(1));
    }
}
