//! Closing: the logs of a removed writer end at the same cut at every replica.
//!
//! An admin signs where they end. What this node holds beyond is void, and it goes. The cut may lie
//! within a span. Then the batch that ends there is read first, because the log keeps its stamp.
//! If another batch is there, this node holds another chain from some batch on. It goes back
//! batch by batch, and repair brings the right ones. The same is done where a batch comes that the
//! cut's chain has, and that what is held here contradicts.
//!
//! Here records go on somebody's word, and nowhere else but where a fork is filed beyond such a cut
//! (`forks::filing`). The word has an admin's signature.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    engine::{
        Engine,
        holdings::{Damage, log::HeldSpan},
        inflight::stored::ReadPurpose,
        output::Write,
        roster::Counts,
    },
    limits::{CLOSING_READS_MAX, CLOSING_RETRY_PAUSE},
    model::{
        Batch, ForkProof, Hash, LogId, NodeId, Stamp, TopicId,
        roster::{Cut, Statement},
    },
    wire::{LogRange, Page},
};

/// The logs that are to end at their cuts.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    left: BTreeSet<(TopicId, LogId)>,
    reading: BTreeMap<(TopicId, LogId), Reading>,
    /// When logs whose batch could not be read come again.
    again_at: Duration,
}

impl State {
    pub(super) fn on_topic_deleted(&mut self, topic: TopicId) {
        self.left.retain(|(of, _)| *of != topic);
        self.reading.retain(|(of, _), _| *of != topic);
    }
}

/// The batch that is read of a log.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Where it ends, and a span of the log is to end.
    to: u64,
    /// Where that span ends now; none if nothing stays behind it.
    span: Option<u64>,
}

/// A batch, or a part that compaction left, in which a record lies.
struct Piece {
    first: u64,
    next: u64,
    head: Hash,
    stamp: Stamp,
}

impl Engine {
    /// Statements are in the roster now: what lies beyond the cuts of closures among them goes.
    pub(in crate::engine) fn close_logs<'a>(
        &mut self,
        news: impl IntoIterator<Item = &'a Statement>,
    ) {
        let closed = news.into_iter().filter_map(|statement| match statement {
            Statement::Closure(closure) => Some((closure.terms().topic, closure.terms().writer)),
            _ => None,
        });
        for (topic, writer) in closed.collect::<BTreeSet<_>>() {
            self.close_logs_of(topic, writer);
        }
    }

    fn close_logs_of(&mut self, topic: TopicId, writer: NodeId) {
        let Some(known) = self.core.topics.get(&topic) else { return };
        let logs = known.known_logs_of(writer);
        self.forget_forks_of(topic, writer);
        for log in logs {
            let Counts::To(cut) = self.counts(&topic, &log) else { continue };
            if let Some(view) = self.read.views.get_mut(&topic) {
                view.end_at(log, cut);
            }
            let Some(known) = self.core.topics.get_mut(&topic) else { return };
            known.limit_proven(&log, cut.next, cut.head);
            if let Some(head) = cut.head {
                // An admin has signed that it goes so far.
                known.prove(log, cut.next, head, self.core.members.is_node(&writer));
            }
            self.leave_closed_log(topic, log, cut);
            self.close_if_beyond(topic, log);
        }
        self.repair_soon();
    }

    /// Ends a log at its cut, if it goes beyond.
    fn close_if_beyond(&mut self, topic: TopicId, log: LogId) {
        let Counts::To(cut) = self.counts(&topic, &log) else { return };
        let held = self.core.topics.get(&topic).and_then(|known| known.logs.get(&log));
        if held.is_some_and(|held| held.goes_beyond(cut.next, cut.head)) {
            self.replication.closing.left.insert((topic, log));
            self.close_next();
        }
    }

    /// Forgets the forks that a closure does not name: an admin looked at the log before.
    fn forget_forks_of(&mut self, topic: TopicId, writer: NodeId) {
        let Some(known) = self.core.topics.get(&topic) else { return };
        let proofs = known.forks.proofs().filter(|proof| proof.log().writer == writer);
        let (named, others): (Vec<_>, Vec<_>) = proofs.partition(|proof| self.takes_fork(proof));
        let named: BTreeSet<_> = named.into_iter().map(ForkProof::log).collect();
        let others = others.into_iter().map(ForkProof::log);
        let others: BTreeSet<_> = others.filter(|log| !named.contains(log)).collect();
        for of in others {
            self.forks.forget(&self.core, topic, of);
            if let Some(known) = self.core.topics.get_mut(&topic) {
                known.forget_fork(of);
            }
        }
    }

    /// Ends logs at their cuts, as many at a time as may be read.
    fn close_next(&mut self) {
        while self.replication.closing.reading.len() < CLOSING_READS_MAX
            && let Some((topic, log)) = self.replication.closing.left.pop_first()
        {
            if !self.replication.closing.reading.contains_key(&(topic, log)) {
                self.close_log(topic, log);
            }
        }
    }

    /// Ends a log at its cut, or reads the batch that ends there.
    fn close_log(&mut self, topic: TopicId, log: LogId) {
        // Its writer may have been admitted again.
        let Counts::To(cut) = self.counts(&topic, &log) else { return };
        let known = self.core.topics.get(&topic).and_then(|known| known.logs.get(&log));
        let Some(held) = known else { return };
        if held.span_beyond(cut.next, cut.head).is_some() {
            return self.read_end(topic, log, Reading { to: cut.next, span: None });
        }
        // No span goes across, so the stamp is not needed.
        let head = cut.head.map(|head| (head, Stamp::default()));
        self.end_log(topic, log, cut.next, head);
    }

    /// A batch has come that contradicts what is held of its log. If it belongs to the chain of the
    /// cut, what is held gives way.
    pub(super) fn make_way(&mut self, batch: &Batch) {
        let (topic, log) = (batch.header().topic, batch.log());
        let Counts::To(cut) = self.counts(&topic, &log) else { return };
        let known = self.core.topics.get(&topic).and_then(|known| known.logs.get(&log));
        let Some(held) = known else { return };
        let (first, next, hash) = (batch.header().first, batch.header().next(), batch.hash());
        let is_last = |span: &HeldSpan| (span.next, Some(span.head)) == (cut.next, cut.head);
        let follows = |span: &HeldSpan| span.first == next && span.base == Some(hash);
        let is_of_chain = (next, Some(hash)) == (cut.next, cut.head)
            || held.spans.iter().any(|span| follows(span) && is_last(span));
        let base = batch.header().previous.map(|previous| previous.hash);
        let contradicts = |span: &&HeldSpan| {
            let overlaps = span.first < next && first < span.next && !is_last(span);
            overlaps || span.next == first && base.is_some_and(|base| base != span.head)
        };
        let Some(span) = held.spans.iter().find(contradicts).copied().filter(|_| is_of_chain)
        else {
            return;
        };
        if self.replication.closing.reading.contains_key(&(topic, log)) {
            return; // it comes again
        }
        if span.next == first {
            // Its last batch is wrong, wherever that begins.
            return self.read_end(topic, log, Reading { to: first, span: Some(span.next) });
        }
        self.go_back(topic, log, Reading { to: first, span: Some(span.next) });
    }

    /// Reads the batch that ends where a log is to end.
    fn read_end(&mut self, topic: TopicId, log: LogId, reading: Reading) {
        self.replication.closing.reading.insert((topic, log), reading);
        let range = LogRange { log, from: reading.to.saturating_sub(1), to: reading.to };
        self.core.read_store(topic, vec![range], 1, ReadPurpose::Closing(topic, log));
    }

    /// The store has read the batch where a log is to end.
    pub(in crate::engine) fn closed_end_read(
        &mut self,
        topic: TopicId,
        log: LogId,
        page: Option<Page>,
    ) {
        // The topic was deleted meanwhile.
        let Some(reading) = self.replication.closing.reading.remove(&(topic, log)) else { return };
        let Reading { to, span } = reading;
        let piece = page.and_then(|page| piece_at(&page, &log, to.saturating_sub(1)));
        if let Counts::To(cut) = self.counts(&topic, &log) {
            match (piece, span) {
                (Some(piece), None) if ends_well(&piece, to, cut) => {
                    self.end_log(topic, log, to, Some((piece.head, piece.stamp)));
                }
                (Some(piece), Some(end)) if piece.next == to && to < end => {
                    self.shorten(topic, log, end, to, Some((piece.head, piece.stamp)));
                }
                (Some(piece), _) => self.go_back(topic, log, Reading { to: piece.first, span }),
                // It is damaged, or went meanwhile. What made way comes again.
                (None, Some(_)) => {}
                (None, None) => {
                    self.replication.closing.again_at = self.core.now.elapsed + CLOSING_RETRY_PAUSE;
                    self.replication.closing.left.insert((topic, log));
                    return;
                }
            }
        }
        self.close_next();
    }

    /// Another chain is held here: the log, or a span of it, ends before the batch that begins at
    /// `to`.
    fn go_back(&mut self, topic: TopicId, log: LogId, reading: Reading) {
        let known = self.core.topics.get(&topic).and_then(|known| known.logs.get(&log));
        let Some(held) = known else { return };
        let Reading { to, span } = reading;
        let is_across = held.spans.iter().any(|it| it.first < to && to < it.next);
        match span {
            _ if is_across => self.read_end(topic, log, reading),
            None => self.end_log(topic, log, to, None),
            Some(end) => self.shorten(topic, log, end, to, None),
        }
    }

    /// What lies beyond the end of a log goes.
    fn end_log(&mut self, topic: TopicId, log: LogId, to: u64, head: Option<(Hash, Stamp)>) {
        let Some(known) = self.core.topics.get_mut(&topic) else { return };
        let rest = known.end_log_at(&log, to, head);
        self.core.write(Write::Drop { topic, log_id: log, from: to, to: u64::MAX, log: rest });
        self.serve_waiting(topic);
        self.repair_soon();
    }

    /// What a span that ends at `end` has from `to` on goes.
    fn shorten(
        &mut self,
        topic: TopicId,
        log: LogId,
        end: u64,
        to: u64,
        previous: Option<(Hash, Stamp)>,
    ) {
        let Some(known) = self.core.topics.get_mut(&topic) else { return };
        let spans = known.logs.get(&log).map(|held| held.spans.as_slice()).unwrap_or_default();
        let Some(span) = spans.iter().find(|span| span.next == end).copied() else { return };
        let first = to.max(span.first);
        let damage = Damage { topic, log, first, next: end, hash: span.head, previous };
        if let Some(rest) = known.lose(&damage) {
            self.core.write(Write::Drop {
                topic,
                log_id: log,
                from: first,
                to: end,
                log: Some(rest),
            });
            self.serve_waiting(topic);
            self.repair_soon();
        }
    }

    pub(super) fn tick_closing(&mut self) {
        if self.replication.closing.again_at <= self.core.now.elapsed {
            self.close_next();
        }
    }
}

/// What a page has of the record at `at`.
fn piece_at(page: &Page, log: &LogId, at: u64) -> Option<Piece> {
    let holds = |first: u64, next: u64| first <= at && at < next;
    let batches = page.batches.iter().filter(|batch| batch.log() == *log).map(|batch| {
        let header = batch.header();
        Piece { first: header.first, next: header.next(), head: batch.hash(), stamp: header.stamp }
    });
    let parts = page.compacted.iter().filter(|part| part.log == *log).map(|part| Piece {
        first: part.first,
        next: part.next,
        head: part.head,
        stamp: part.stamp,
    });
    batches.chain(parts).find(|piece| holds(piece.first, piece.next))
}

/// Whether a piece ends where the log is to end: at the cut, or before a batch that does not.
fn ends_well(piece: &Piece, to: u64, cut: Cut) -> bool {
    piece.next == to && (to < cut.next || Some(piece.head) == cut.head)
}
