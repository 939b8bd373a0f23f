//! Where the log of a removed writer ends: what comes after that goes.

use super::log::{HeldSpan, Log};
use crate::model::{Hash, Stamp};

impl Log {
    /// The span that goes on after `to`, or that ends there with another batch than `head`.
    pub(in crate::engine) fn span_beyond(&self, to: u64, head: Option<Hash>) -> Option<HeldSpan> {
        let is_other = |span: &HeldSpan| span.next == to && Some(span.head) != head;
        let goes_on = |span: &HeldSpan| span.next > to;
        let beyond = |span: &&HeldSpan| span.first < to && (goes_on(span) || is_other(span));
        self.spans.iter().find(beyond).copied()
    }

    /// Whether anything is known of it that comes after `to`, or that ends there with another
    /// batch than `head`.
    pub(in crate::engine) fn goes_beyond(&self, to: u64, head: Option<Hash>) -> bool {
        let is_beyond = |(next, hash): (u64, Hash)| next > to || next == to && Some(hash) != head;
        let tip = self.tip.map(|tip| (tip.next, tip.head));
        let spans = self.spans.iter().map(|span| (span.next, span.head));
        self.low > to || spans.chain(tip).any(is_beyond)
    }

    /// Takes away what comes after `to`, where a batch of this hash ends. Its stamp must be known
    /// if part of a span is taken away.
    pub(in crate::engine) fn end_at(&mut self, to: u64, head: Option<(Hash, Stamp)>) {
        self.spans.retain_mut(|span| {
            if span.first >= to {
                return false;
            }
            match head {
                Some((head, stamp)) if span.next > to => {
                    *span = HeldSpan { next: to, head, stamp, ..*span };
                }
                Some(_) | None => debug_assert!(span.next <= to, "its last batch is known"),
            }
            span.next <= to
        });
        self.tip = self.tip.filter(|tip| tip.next <= to);
        self.early.retain_mut(|part| {
            part.next = part.next.min(to);
            part.first < part.next
        });
        if self.low > to {
            (self.low, self.base) = (to, head.map(|(head, _)| head));
            self.headers = self.headers.map(|from| from.min(to));
        }
        debug_assert!(self.is_well_formed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::holdings::early::EarlyPart, model::WallClock};

    fn hash(byte: u8) -> Hash {
        Hash([byte; 32])
    }

    fn log(spans: &[(u64, u64)]) -> Log {
        let span = |&(first, next): &(u64, u64)| HeldSpan {
            first,
            next,
            base: None,
            head: hash(9),
            stamp: Stamp::default(),
        };
        Log { spans: spans.iter().map(span).collect(), ..Log::default() }
    }

    fn ended(spans: &[(u64, u64)], to: u64) -> Vec<(u64, u64, Hash)> {
        let mut log = log(spans);
        log.end_at(to, (to > 0).then_some((hash(1), Stamp::default())));
        log.spans.iter().map(|span| (span.first, span.next, span.head)).collect()
    }

    #[test]
    fn what_comes_after_the_end_goes_and_what_comes_before_stays() {
        assert_eq!(ended(&[(0, 10)], 6), [(0, 6, hash(1))]);
        assert_eq!(ended(&[(0, 10)], 10), [(0, 10, hash(9))]);
        assert_eq!(ended(&[(0, 3), (5, 10)], 5), [(0, 3, hash(9))]);
        assert_eq!(ended(&[(0, 3), (5, 10)], 4), [(0, 3, hash(9))]);
        assert_eq!(ended(&[(0, 10)], 0), []);
    }

    #[test]
    fn a_span_that_ends_with_another_batch_is_beyond_the_end() {
        let log = log(&[(0, 3), (5, 10)]);
        let first = |to, head| log.span_beyond(to, Some(hash(head))).map(|span| span.first);
        assert_eq!(first(10, 9), None);
        assert_eq!(first(10, 8), Some(5));
        assert_eq!(first(7, 9), Some(5));
        assert_eq!(first(4, 9), None, "nothing is held there");
        assert!(log.goes_beyond(4, Some(hash(9))) && !log.goes_beyond(10, Some(hash(9))));
        assert!(log.goes_beyond(10, Some(hash(8))));
    }

    #[test]
    fn what_was_trimmed_beyond_the_end_was_trimmed_up_to_it() {
        let mut log = Log { low: 8, base: Some(hash(8)), headers: Some(7), ..log(&[(8, 10)]) };
        log.early = vec![EarlyPart { first: 8, next: 9, since: WallClock(1) }];
        log.end_at(5, Some((hash(5), Stamp::default())));
        assert_eq!((log.low, log.base, log.headers), (5, Some(hash(5)), Some(5)));
        assert!(log.spans.is_empty() && log.early.is_empty());
    }
}
