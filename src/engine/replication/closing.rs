//! Closing: the logs of a removed writer end at the same cut at every replica.
//!
//! An admin signs where they end. What this node holds beyond is void, and it goes. The cut may lie
//! within a span. Then the batch that ends there is read first, because the log keeps its stamp.
//! If another batch is there, this node holds another chain from some batch on. It goes back
//! batch by batch, and repair brings the right ones.
//!
//! This is the one place where records go on somebody's word: it has an admin's signature.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    engine::{Engine, inflight::stored::ReadPurpose, output::Write, roster::Counts},
    limits::{CLOSING_READS_MAX, CLOSING_RETRY_PAUSE},
    model::{
        Hash, LogId, NodeId, Stamp, TopicId,
        roster::{Cut, Statement},
    },
    wire::{LogRange, Page},
};

/// The logs that are to end at their cuts.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    left: BTreeSet<(TopicId, LogId)>,
    /// Where the batch ends that is read of a log.
    reading: BTreeMap<(TopicId, LogId), u64>,
    /// When logs whose batch could not be read come again.
    again_at: Duration,
}

impl State {
    pub(super) fn on_topic_deleted(&mut self, topic: TopicId) {
        self.left.retain(|(of, _)| *of != topic);
        self.reading.retain(|(of, _), _| *of != topic);
    }
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
            if known.logs.get(&log).is_some_and(|held| held.goes_beyond(cut.next, cut.head)) {
                self.replication.closing.left.insert((topic, log));
            }
            if let Some(head) = cut.head {
                // An admin has signed that it goes so far.
                let is_node = self.core.members.is_node(&writer);
                let known = self.core.topics.get_mut(&topic);
                known.into_iter().for_each(|it| it.prove(log, cut.next, head, is_node));
            }
            self.leave_closed_log(topic, log, cut);
        }
        self.close_next();
        self.repair_soon();
    }

    /// Forgets the forks that a closure does not name: an admin looked at the log before.
    fn forget_forks_of(&mut self, topic: TopicId, writer: NodeId) {
        let Some(known) = self.core.topics.get(&topic) else { return };
        let proofs = known.forks.proofs().filter(|proof| proof.log().writer == writer);
        let (named, others): (Vec<_>, Vec<_>) = proofs.partition(|proof| self.takes_fork(proof));
        let named: BTreeSet<_> = named.into_iter().map(|proof| proof.log()).collect();
        let others = others.into_iter().map(|proof| proof.log());
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
            return self.read_end(topic, log, cut.next);
        }
        // No span goes across, so the stamp is not needed.
        let head = cut.head.map(|head| (head, Stamp::default()));
        self.end_log(topic, log, cut.next, head);
    }

    /// Reads the batch that ends where a log is to end.
    fn read_end(&mut self, topic: TopicId, log: LogId, to: u64) {
        self.replication.closing.reading.insert((topic, log), to);
        let range = LogRange { log, from: to.saturating_sub(1), to };
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
        let Some(to) = self.replication.closing.reading.remove(&(topic, log)) else { return };
        let piece = page.and_then(|page| piece_at(&page, &log, to.saturating_sub(1)));
        if let Counts::To(cut) = self.counts(&topic, &log) {
            match piece {
                Some(piece) if ends_well(&piece, to, cut) => {
                    self.end_log(topic, log, to, Some((piece.head, piece.stamp)));
                }
                Some(piece) => self.go_back(topic, log, piece.first),
                // It is damaged, or went meanwhile.
                None => {
                    self.replication.closing.again_at = self.core.now.elapsed + CLOSING_RETRY_PAUSE;
                    self.replication.closing.left.insert((topic, log));
                    return;
                }
            }
        }
        self.close_next();
    }

    /// Another chain is held here at the cut: the log ends before the batch that begins at `to`.
    fn go_back(&mut self, topic: TopicId, log: LogId, to: u64) {
        let known = self.core.topics.get(&topic).and_then(|known| known.logs.get(&log));
        let Some(held) = known else { return };
        let is_across = held.spans.iter().any(|span| span.first < to && to < span.next);
        if is_across {
            return self.read_end(topic, log, to);
        }
        self.end_log(topic, log, to, None);
    }

    /// What lies beyond the end of a log goes.
    fn end_log(&mut self, topic: TopicId, log: LogId, to: u64, head: Option<(Hash, Stamp)>) {
        let Some(known) = self.core.topics.get_mut(&topic) else { return };
        let rest = known.end_log_at(&log, to, head);
        self.core.write(Write::Drop { topic, log_id: log, from: to, to: u64::MAX, log: rest });
        self.serve_waiting(topic);
        self.repair_soon();
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
