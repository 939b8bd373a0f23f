//! What a node holds of one log, and the rules by which it grows.
//!
//! A log is a chain: each batch names the hash of the one before. A node may hold parts of it:
//! a stand-in has what was written while it stood in, a returning replica first gets what is
//! new and then what it missed. Each part is a span; spans that meet are joined only if the
//! chain says so.

use minicbor::{Decode, Encode};
use thiserror::Error;

use super::early::EarlyPart;
use crate::{
    limits::{
        EARLY_PARTS_MAX, FRONTIER_LOGS_MAX, HEADERS_KEPT_RECORDS, SPANS_MAX, STRANGER_LOGS_MAX,
        TOO_MANY_LOGS_PAUSE, WRITER_LOGS_MAX,
    },
    model::{Batch, Compacted, Entry, Hash, Incarnation, Previous, Span, Stamp, WallClock},
    wire::Refusal,
};

/// A span and what is needed to lengthen it at either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct HeldSpan {
    /// Sequence number of its first record.
    #[n(0)]
    pub first: u64,
    /// Sequence number after its last record.
    #[n(1)]
    pub next: u64,
    /// The hash that the first batch names as the one before it.
    #[n(2)]
    pub base: Option<Hash>,
    /// The hash of the last batch.
    #[n(3)]
    pub head: Hash,
    /// The stamp of the last batch.
    #[n(4)]
    pub stamp: Stamp,
}

/// What a node holds of one log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Log {
    /// Records below it were removed by the topic's retention.
    #[n(0)]
    pub low: u64,
    /// What is held, in order, never touching.
    #[n(1)]
    pub spans: Vec<HeldSpan>,
    /// The newest batch of all that were dropped after a handover or lost to damage. A writer
    /// continues its chain from here when it holds nothing newer.
    #[n(2)]
    pub tip: Option<Tip>,
    /// The batch that ends at the low watermark, where that is known.
    #[n(3)]
    pub base: Option<Hash>,
    /// The record from which on the headers are kept of what retention removed; none where it
    /// removed nothing since there are such.
    #[n(4)]
    pub headers: Option<u64>,
    /// Parts whose stamps lay in the future, in order, at most [`EARLY_PARTS_MAX`].
    #[cbor(n(5), skip_if = "Vec::is_empty", default)]
    pub early: Vec<EarlyPart>,
}

/// The end of what a writer once held of its own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Tip {
    /// Sequence number after the last record.
    #[n(0)]
    pub next: u64,
    /// The last batch.
    #[n(1)]
    pub head: Hash,
    /// Its stamp.
    #[n(2)]
    pub stamp: Stamp,
}

/// What adding a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    New,
    /// It was held already.
    Held,
    /// Its place is taken: by itself or by another batch, which only reading that one tells.
    Taken,
}

/// Why a batch cannot be added. The log is unchanged.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum AddError {
    /// The batch and what is held cannot both belong to the log: its writer, or somebody with its
    /// key, signed two batches for one position. The neighbours alone do not tell which position.
    #[error("the log has forked at {at}")]
    Fork {
        /// The position.
        at: u64,
    },
    /// More spans than are kept. Repair fills the gaps; try again then.
    #[error("too many gaps in the log")]
    TooManyGaps,
    /// The log is new, and there are as many as may be.
    #[error(transparent)]
    TooManyLogs(#[from] TooManyLogs),
}

/// Why no log may begin in a topic.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum TooManyLogs {
    /// As many as a frontier can tell of.
    #[error("the topic has {FRONTIER_LOGS_MAX} logs, and no more fit")]
    InTopic,
    /// The writer has its share.
    #[error("the writer has {WRITER_LOGS_MAX} logs in the topic, and may not begin another one")]
    OfWriter,
    /// Writers that are no nodes of the network have their share.
    #[error("the topic has {STRANGER_LOGS_MAX} logs of writers that are no nodes of the network")]
    OfStrangers,
}

impl From<TooManyLogs> for Refusal {
    fn from(why: TooManyLogs) -> Self {
        let pause = TOO_MANY_LOGS_PAUSE.as_millis();
        let retry_after_ms = u32::try_from(pause).unwrap_or(u32::MAX);
        Self::OverBudget { reason: why.to_string(), retry_after_ms }
    }
}

impl Log {
    /// Adds a batch.
    ///
    /// # Errors
    /// When the batch does not fit what is held.
    pub fn add(&mut self, batch: &Batch) -> Result<Added, AddError> {
        let header = batch.header();
        self.add_part(HeldSpan {
            first: header.first,
            next: header.next(),
            base: header.previous.map(|previous| previous.hash),
            head: batch.hash(),
            stamp: header.stamp,
        })
    }

    /// Adds a batch of which no more is at hand than this: an index has it, and not the bytes.
    ///
    /// # Errors
    /// When the batch does not fit what is held.
    pub fn add_part(&mut self, added: HeldSpan) -> Result<Added, AddError> {
        let HeldSpan { first, next, base, .. } = added;
        if next <= self.low {
            return Ok(Added::Held);
        }
        // Spans before `index` end before the batch begins.
        let index = self.spans.partition_point(|span| span.next < first);
        if let Some(span) = self.spans.iter().find(|span| span.first < next && first < span.next) {
            return Ok(Self::overlap(span, &added));
        }
        let joins_before = self.spans.get(index).is_some_and(|span| span.next == first);
        let after = index + usize::from(joins_before);
        let joins_after = self.spans.get(after).is_some_and(|span| span.first == next);
        if joins_before && self.spans.get(index).map(|span| span.head) != base {
            return Err(AddError::Fork { at: first });
        }
        if joins_after && self.spans.get(after).and_then(|span| span.base) != Some(added.head) {
            return Err(AddError::Fork { at: next });
        }
        match (joins_before, joins_after) {
            // A span at the end is always taken: a writer must be able to lengthen its log.
            (false, false)
                if self.spans.len() >= SPANS_MAX + usize::from(index == self.spans.len()) =>
            {
                return Err(AddError::TooManyGaps);
            }
            (false, false) => self.spans.insert(index, added),
            (true, false) => {
                let span = &mut self.spans[index];
                *span = HeldSpan { first: span.first, base: span.base, ..added };
            }
            (false, true) => {
                let span = &mut self.spans[after];
                *span = HeldSpan { first, base, ..*span };
            }
            (true, true) => {
                let later = self.spans.remove(after);
                let span = &mut self.spans[index];
                *span = HeldSpan { first: span.first, base: span.base, ..later };
            }
        }
        debug_assert!(self.is_well_formed());
        Ok(Added::New)
    }

    /// Fills what is missing with what compaction took away: each part that was filled, and the log
    /// with it. Batches that are held within the part stay. What is missing begins and ends at them
    /// only where the part names them: others may be of another chain.
    ///
    /// # Errors
    /// When the part does not fit what is held. The log is unchanged.
    pub fn fill(&mut self, part: &Compacted) -> Result<Vec<(Compacted, Self)>, AddError> {
        let mut filled = Vec::new();
        let mut log = self.clone();
        for (first, next) in self.entry().missing(part.first, part.next) {
            let before = self.spans.iter().find(|span| span.next == first);
            let after = self.spans.iter().find(|span| span.first == next);
            let base = if first == part.first {
                part.base
            } else {
                before.map(|span| span.head).or(self.base)
            };
            let head =
                if next == part.next { Some(part.head) } else { after.and_then(|span| span.base) };
            let Some(head) = head else { continue };
            let is_other = |hash: Hash| !part.may_hold(hash);
            if is_other(head) || first != part.first && base.is_some_and(is_other) {
                continue;
            }
            let gap = Compacted { first, next, base, head, ..part.clone() };
            if log.add_part(HeldSpan { first, next, base, head, stamp: part.stamp })? == Added::New
            {
                filled.push((gap, log.clone()));
            }
        }
        *self = log;
        Ok(filled)
    }

    /// A batch that overlaps a span is part of it, or proof of a fork. Only at the span's end is
    /// the hash of what is held at hand.
    fn overlap(span: &HeldSpan, batch: &HeldSpan) -> Added {
        let same = batch.next == span.next && batch.head == span.head;
        if same { Added::Held } else { Added::Taken }
    }

    /// Forgets what ends at or before `to`, where the batch `head` ends, and remembers the end of
    /// the log. It is elsewhere, and so are its headers. The batch must be known if part of a span
    /// is forgotten.
    pub fn forget(&mut self, to: u64, head: Option<Hash>) {
        self.tip = self.end();
        self.headers = Some(to.max(self.headers.unwrap_or(0)));
        self.spans.retain_mut(|span| {
            if span.first < to && to < span.next {
                debug_assert!(head.is_some(), "a span is parted behind a batch that is known");
                (span.first, span.base) = (to, head);
            }
            span.next > to
        });
        debug_assert!(self.is_well_formed());
    }

    /// Cuts off what ends at or before `to`, where the batch `head` ends: it is never stored again.
    /// Returns whether that changed anything. The batch must be known if part of a span is cut. The
    /// headers of the newest part stay.
    pub fn cut(&mut self, to: u64, head: Option<Hash>) -> bool {
        if to <= self.low {
            return false;
        }
        let headers = self.headers.unwrap_or(self.low);
        let headers = headers.max(to.saturating_sub(HEADERS_KEPT_RECORDS));
        self.forget(to, head);
        self.early.retain(|part| part.next > to);
        (self.low, self.base, self.headers) = (to, head, Some(headers));
        true
    }

    /// Remembers that a part of it is stamped in the future and was held at this time; whether
    /// that is news. With too many parts the two that are nearest to each other become one, so that
    /// what is between them counts as early, too: it stays, and takes nobody's place.
    pub fn mark_early(&mut self, first: u64, next: u64, since: WallClock) -> bool {
        let held = self.spans.iter().find(|span| span.first <= first && first < span.next);
        let Some(next) = held.map(|span| next.min(span.next)).filter(|next| first < *next) else {
            return false;
        };
        if self.early.iter().any(|part| part.first <= first && next <= part.next) {
            return false;
        }
        self.early.push(EarlyPart { first, next, since });
        self.early.sort_unstable_by_key(|part| (part.first, part.next));
        let mut joined: Vec<EarlyPart> = Vec::with_capacity(self.early.len());
        for part in self.early.drain(..) {
            match joined.last_mut() {
                Some(last) if part.first <= last.next => {
                    last.next = last.next.max(part.next);
                    last.since = last.since.max(part.since);
                }
                Some(_) | None => joined.push(part),
            }
        }
        if joined.len() > EARLY_PARTS_MAX {
            let gap = |at: &usize| match joined.get(*at..*at + 2) {
                Some([one, two]) => two.first - one.next,
                _ => u64::MAX,
            };
            if let Some(at) = (0..joined.len() - 1).min_by_key(gap) {
                let later = joined.remove(at + 1);
                joined[at].next = later.next;
                joined[at].since = joined[at].since.max(later.since);
            }
        }
        self.early = joined;
        true
    }

    /// Whether the header of a batch that ends at `next` is kept, and the batch is not. A store
    /// uses this rule alone, so a rebuilt one has the same headers.
    pub fn keeps_header(&self, next: u64) -> bool {
        next <= self.low && self.headers.is_some_and(|from| from < next)
    }

    /// Takes out a batch that can no longer be read; whether it was counted as held. `previous` is
    /// the hash and the stamp of the batch before it, needed where that is part of the same span.
    ///
    /// A log that has as many holes as are kept stays as it is: it is found again when repair has
    /// closed some.
    pub fn lose(
        &mut self,
        first: u64,
        next: u64,
        hash: Hash,
        previous: Option<(Hash, Stamp)>,
    ) -> bool {
        let holds = |span: &HeldSpan| span.first <= first && next <= span.next;
        let Some(index) = self.spans.iter().position(holds) else {
            return false;
        };
        let span = self.spans[index];
        let before = match previous {
            Some((head, stamp)) if span.first < first => {
                Some(HeldSpan { next: first, head, stamp, ..span })
            }
            None if span.first < first => return false,
            Some(_) | None => None,
        };
        let after =
            (next < span.next).then_some(HeldSpan { first: next, base: Some(hash), ..span });
        if before.is_some() && after.is_some() && self.spans.len() >= SPANS_MAX {
            return false;
        }
        self.tip = self.end();
        self.spans.splice(index..=index, before.into_iter().chain(after));
        debug_assert!(self.is_well_formed());
        true
    }

    /// The end of what is or once was held.
    fn end(&self) -> Option<Tip> {
        let held = self.spans.last();
        let held = held.map(|span| Tip { next: span.next, head: span.head, stamp: span.stamp });
        held.into_iter().chain(self.tip).max_by_key(|tip| tip.next)
    }

    /// The furthest record that this log has or had here, and the batch that it ends with.
    pub fn known_end(&self) -> Option<(u64, Hash)> {
        let cut = self.base.map(|base| (self.low, base));
        let end = self.end().map(|tip| (tip.next, tip.head));
        end.into_iter().chain(cut).max_by_key(|(next, _)| *next)
    }

    /// The end of the span that holds a record, if one does.
    pub fn held_to(&self, number: u64) -> Option<u64> {
        let holds = |span: &&HeldSpan| span.first <= number && number < span.next;
        self.spans.iter().find(holds).map(|span| span.next)
    }

    /// What other nodes are told of it.
    pub fn entry(&self) -> Entry {
        let span = |held: &HeldSpan| Span { first: held.first, next: held.next, head: held.head };
        Entry { low: self.low, spans: self.spans.iter().map(span).collect(), base: self.base }
    }

    /// The newest batch, as the one before the next.
    pub fn previous(&self, incarnation: Incarnation) -> Option<Previous> {
        self.end().map(|tip| Previous { incarnation, next: tip.next, hash: tip.head })
    }

    /// The stamp of the newest batch.
    pub fn newest(&self) -> Stamp {
        let held = self.spans.iter().map(|span| span.stamp).max();
        held.max(self.tip.map(|tip| tip.stamp)).unwrap_or_default()
    }

    /// Number of records held.
    pub fn records(&self) -> u64 {
        self.spans.iter().map(|span| span.next - span.first).sum()
    }

    /// Whether spans are in order and apart, above the low watermark.
    pub(in crate::engine) fn is_well_formed(&self) -> bool {
        self.spans.first().is_none_or(|span| self.low < span.next)
            && self.spans.iter().all(|span| span.first < span.next)
            && self.spans.is_sorted_by(|one, two| one.next < two.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::COMPACTED_HASHES_MAX,
        model::{LogId, NodeKey},
    };

    fn log(next: u64) -> Log {
        let head = Hash([1; 32]);
        let span = HeldSpan { first: 0, next, base: None, head, stamp: Stamp::default() };
        Log { spans: vec![span], ..Log::default() }
    }

    #[test]
    fn parts_that_are_early_join_and_are_bounded() {
        let mut log = log(10_000);
        assert!(log.mark_early(10, 20, WallClock(1)) && log.mark_early(20, 30, WallClock(2)));
        assert!(!log.mark_early(12, 30, WallClock(9)), "it is known");
        assert_eq!(log.early, [EarlyPart { first: 10, next: 30, since: WallClock(2) }]);
        assert!(!log.mark_early(20_000, 30_000, WallClock(3)), "it is not held");
        for at in 1..200 {
            assert!(log.mark_early(at * 50, at * 50 + 10, WallClock(at)));
            assert!(log.early.len() <= EARLY_PARTS_MAX);
            assert!(log.early.is_sorted_by(|one, two| one.next < two.first));
        }
        let covered = |at: u64| log.early.iter().any(|part| part.first <= at && at < part.next);
        assert!((1..200).all(|at| covered(at * 50)), "none is forgotten");
        log.cut(5_000, Some(Hash([7; 32])));
        assert!(log.early.iter().all(|part| part.next > 5_000));
    }
    #[test]
    fn what_is_compacted_fills_no_gap_beside_a_batch_of_another_chain() {
        let hash = |byte: u8| Hash([byte; 32]);
        let names = |bytes: &[u8]| bytes.iter().map(|byte| hash(*byte).into()).collect();
        let log_id =
            LogId { writer: NodeKey::from_secret(&[1; 32]).node(), incarnation: Incarnation(1) };
        // Batches 5, 7 and 9 end at these records, and nothing is left of them.
        let part = Compacted {
            log: log_id,
            first: 3,
            next: 9,
            base: Some(hash(3)),
            head: hash(9),
            stamp: Stamp::default(),
            batches: names(&[5, 7, 9]),
        };
        let held = |first: u64, next: u64, base: u8, head: u8| {
            let (base, head) = (Some(hash(base)), hash(head));
            Log {
                spans: vec![HeldSpan { first, next, base, head, stamp: Stamp::default() }],
                ..Log::default()
            }
        };
        let spans = |mut log: Log, part: &Compacted| {
            let filled = log.fill(part).unwrap().len();
            let spans = log.spans.iter().map(|span| (span.first, span.next));
            (filled, spans.collect::<Vec<_>>())
        };
        assert_eq!(spans(held(5, 7, 5, 7), &part), (2, vec![(3, 9)]), "it is one of the part");
        assert_eq!(spans(held(5, 7, 5, 77), &part), (1, vec![(3, 7)]), "its end is another one");
        assert_eq!(spans(held(5, 7, 55, 77), &part), (0, vec![(5, 7)]), "so is its start");
        assert_eq!(spans(held(3, 4, 3, 44), &part), (0, vec![(3, 4)]), "nobody names it");
        let many = Compacted { batches: names(&[9; COMPACTED_HASHES_MAX]), ..part };
        assert_eq!(
            spans(held(3, 4, 3, 44), &many),
            (1, vec![(3, 9)]),
            "there are too many to tell"
        );
    }
}
