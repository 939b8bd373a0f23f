//! What nodes write to their disks, and what is checked when they do.

use std::time::Duration;

use antiphon::{
    engine::{Input, Write, WriteNumber},
    model::Batch,
};

use crate::world::{
    Event, World,
    invariants::{
        admitted, bounds, closures, compaction, cursors, forks, one_position, outbox, removal,
        retention, strangers, unmoved,
    },
    node::SCRUB_INTERVAL,
};

impl World {
    /// The scrub's turn.
    pub(crate) fn scrub_due(&mut self, index: usize) {
        self.scrub(index);
        let life = self.nodes[index].life;
        self.event(SCRUB_INTERVAL, Event::Scrub(index, life));
    }

    /// The scrub comes upon what is damaged.
    fn scrub(&mut self, index: usize) {
        let image = &self.nodes[index].disk.image;
        let damages: Vec<_> =
            image.damaged.iter().filter_map(|place| image.damage(place)).collect();
        for damage in damages {
            self.input(index, Duration::from_micros(20), Input::Damaged(damage));
        }
    }

    pub(crate) fn write(&mut self, index: usize, number: WriteNumber, write: Write) {
        if self.is_liar(index) {
            self.liar_writes(index, &write);
            self.nodes[index].disk.pending.push((number, write));
            return self.begin_flush(index);
        }
        if let Write::Append { batch, .. } = &write {
            self.writes_batch(index, number, &batch.clone());
        }
        if let Write::Subscription { topic, name, subscription: Some(subscription) } = &write {
            let result = cursors::kept(self, index, *topic, name, subscription);
            self.check(cursors::NAME, result);
        }
        if let Write::Descriptor(topic, signed) = &write {
            if self.liars() > 0 {
                let result = admitted::kept(self, index, *topic, signed.descriptor());
                self.check(admitted::NAME, result);
                self.oracle.signed_terms.push(signed.clone());
            }
            self.oracle.note_terms(*topic, signed.descriptor());
        }
        if let Write::Drop { topic, log_id, from, to, log } = &write {
            let range = (*topic, *log_id, *from)..(*topic, *log_id, *to);
            let ends = |batch: &&Batch| batch.header().next() <= *to;
            let image = &self.nodes[index].disk.image;
            // What was decided before may not be flushed yet.
            let decided = |batch: &&Batch| {
                self.nodes[index].disk.pending.iter().any(|(_, write)| match write {
                    Write::Drop { topic: of, log_id: log, from, to, .. } => {
                        let header = batch.header();
                        (of, log) == (topic, log_id)
                            && *from <= header.first
                            && header.next() <= *to
                    }
                    _ => false,
                })
            };
            let batches = image.batches.range(range).map(|(_, batch)| batch).filter(ends);
            let batches: Vec<_> = batches.filter(|batch| !decided(batch)).cloned().collect();
            let is_deleted = self.is_deleted(topic);
            let low = log.as_ref().map_or(0, |log| log.low);
            if self.liars() > 0 {
                let result = unmoved::cut(self, index, (*topic, *log_id, low));
                self.check(unmoved::NAME, result);
            }
            retention::cut(self, *topic, *log_id, low);
            let (let_go, handed_over): (Vec<_>, Vec<_>) =
                batches.into_iter().partition(|batch| batch.header().next() <= low || is_deleted);
            let result = retention::let_go(self, index, *topic, (*log_id, low), &let_go);
            self.check(retention::NAME, result);
            for batch in handed_over {
                if self.liars() > 0 {
                    let result = unmoved::decided(self, index, &batch);
                    self.check(unmoved::NAME, result);
                    continue;
                }
                let result = removal::decided(self, index, &batch);
                self.check(removal::NAME, result);
            }
        }
        if let Write::Compact { topic, part, .. } = &write {
            self.trace.note(self.now, || format!("{index} compacts {part:?}"));
            let result = compaction::taken_away(self, index, *topic, part);
            self.check(compaction::NAME, result);
        }
        if let Write::Outbox { topic, log, pending: None } = &write {
            let result = outbox::taken_out(self, index, *topic, *log);
            self.check(outbox::NAME, result);
        }
        self.nodes[index].disk.pending.push((number, write));
        self.begin_flush(index);
    }

    fn writes_batch(&mut self, index: usize, number: WriteNumber, batch: &Batch) {
        let is_full = self.nodes[index].disk.full;
        self.check(bounds::NAME, bounds::room(is_full));
        self.trace.mix(&[number.0, u64::from(batch.hash().0[0])]);
        self.trace.note(self.now, || format!("{index} writes {batch:?} {:?}", batch.hash()));
        let is_new = !self.oracle.batches.contains_key(&batch.hash());
        self.appeared(batch);
        let result = closures::appended(self, index, batch, is_new);
        self.check(closures::NAME, result);
        retention::received(self, index, batch);
        let result = retention::stays_gone(self, index, batch);
        self.check(retention::NAME, result);
        let result = forks::appended(self, index, batch);
        self.check(forks::NAME, result);
    }

    fn begin_flush(&mut self, index: usize) {
        let slowness = self.nodes[index].disk.slowness;
        let disk = &mut self.nodes[index].disk;
        if disk.flushing.is_some() {
            return;
        }
        let Some((last, _)) = disk.pending.last() else {
            return;
        };
        let last = *last;
        disk.flushing = Some(last);
        let usual = self.choices.time(self.options.flush / 2, self.options.flush * 3);
        let life = self.nodes[index].life;
        self.event(usual * (slowness + 1), Event::Flushed(index, life, last));
    }

    /// A disk is as fast as usual again: also the flush under way, which may have had a minute left.
    pub(crate) fn hurry(&mut self, index: usize) {
        self.nodes[index].disk.slowness = 0;
        if let Some(number) = self.nodes[index].disk.flushing {
            let life = self.nodes[index].life;
            self.event(self.options.flush, Event::Flushed(index, life, number));
        }
    }

    /// A group of writes is flushed.
    pub(crate) fn flushed(&mut self, index: usize, number: WriteNumber) {
        if self.nodes[index].disk.flushing != Some(number) {
            return;
        }
        self.nodes[index].disk.flushing = None;
        if self.nodes[index].disk.failing {
            return self.latch(index);
        }
        let node = &mut self.nodes[index];
        let (group, rest) = std::mem::take(&mut node.disk.pending)
            .into_iter()
            .partition(|(written, _)| *written <= number);
        node.disk.pending = rest;
        for (_, write) in group {
            self.apply(index, &write);
        }
        for output in self.nodes[index].gate.flushed(number) {
            self.carry_out(index, output);
        }
        self.begin_flush(index);
        self.handle(index, Input::Durable(number));
    }

    /// Applies a write to the flushed disk of a node.
    pub(crate) fn apply(&mut self, index: usize, write: &Write) {
        let result = strangers::kept(index, write);
        self.check(strangers::NAME, result);
        let appended = match write {
            Write::Append { batch, .. } => Some(batch.clone()),
            _ => None,
        };
        let removed = self.nodes[index].disk.image.apply(write);
        if self.is_liar(index) {
            return;
        }
        if let Some(batch) = appended {
            self.oracle.held(index, &batch);
        }
        for batch in removed {
            // What is filed under a branch from now on is still there.
            let image = &self.nodes[index].disk.image;
            if image.tables.forks.is_empty() || !image.is_filed(&batch) {
                self.given_up(index, &batch);
            }
        }
    }

    /// A node has removed a copy by itself.
    pub(crate) fn given_up(&mut self, index: usize, batch: &Batch) {
        self.trace.note(self.now, || format!("{index} removes {batch:?}"));
        self.oracle.given_up(index, batch);
        let result = removal::removed(self, batch);
        self.check(removal::NAME, result);
    }

    /// Records what a disk holds after something happened to it.
    pub(crate) fn observe_disk(&mut self, index: usize) {
        if self.is_liar(index) {
            return;
        }
        let readable = self.nodes[index].disk.image.readable();
        let lost = self.oracle.replaced(index, &readable, self.now);
        self.counts.copies_destroyed += lost as u64;
    }

    pub(crate) fn appeared(&mut self, batch: &Batch) {
        if self.oracle.appeared(batch) {
            let result = one_position::appeared(&mut self.oracle, batch);
            self.check(one_position::NAME, result);
        }
    }
}
