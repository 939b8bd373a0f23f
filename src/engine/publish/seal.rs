//! Sealing: what waits becomes a batch, which is stored here and sent to the replicas.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;

use super::outgoing::{Queued, Unacknowledged, Waiting};
use crate::{
    engine::{
        Engine,
        holdings::log::{Added, TooManyLogs},
        output::Output,
    },
    limits::UNACKNOWLEDGED_BATCHES_MAX,
    model::{Batch, Draft, LogId, NodeId, Run, TopicId},
    wire::Refusal,
};

/// A batch that is under way for longer than this no longer keeps the next one waiting: the
/// replicas are slow or away, and records are safer sealed than queued.
const SLOT_AGE_MAX: Duration = Duration::from_millis(500);

impl Engine {
    pub(super) fn enqueue(
        &mut self,
        topic: TopicId,
        run: Run,
        records: Bytes,
        waiting: Vec<Waiting>,
    ) {
        if self.is_busy_with(records.len()) {
            for Waiting { question, .. } in waiting {
                self.core.refuse(question, Refusal::Busy);
            }
            return;
        }
        self.publish.bytes += records.len();
        if !self.publish.topics.contains_key(&topic) {
            self.begin_log(topic);
        }
        // Not before: a lone node knows the end of its old log at once, and is idle until now.
        self.publish.active.insert(topic);
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        outgoing.queued.push_back(Queued { runs: vec![run], records, waiting });
        self.seal_ready(topic);
    }

    /// Seals what is queued, as far as batches may be under way.
    pub(in crate::engine) fn seal_ready(&mut self, topic: TopicId) {
        let now = self.core.now.elapsed;
        self.find_own_branch(topic);
        while let Some(outgoing) = self.publish.topics.get(&topic) {
            if outgoing.parted.is_some() {
                break;
            }
            // Nobody waits for what was told to be pending, so the next one does not wait for it.
            let young = |sealed: &&Unacknowledged| {
                now.saturating_sub(sealed.sealed) < SLOT_AGE_MAX && !sealed.waiting.is_empty()
            };
            let under_way = outgoing.unacknowledged.iter().filter(young).count();
            let full = under_way >= UNACKNOWLEDGED_BATCHES_MAX;
            let is_unsure = outgoing.confirming.is_some() || self.core.clocks.is_in_doubt();
            let waits = full || is_unsure || !self.core.room;
            if outgoing.queued.is_empty() || waits {
                break;
            }
            self.seal_one(topic);
        }
    }

    /// Seals what waited to be stamped.
    pub(in crate::engine) fn seal_waiting(&mut self) {
        for topic in self.publish.active.clone() {
            self.seal_ready(topic);
        }
    }

    pub(super) fn seal_one(&mut self, topic: TopicId) {
        let stamp = self.core.clock.tick(self.core.now.wall);
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return;
        };
        let (runs, body, waiting) = outgoing.take_body();
        let log = LogId { writer: self.core.me, incarnation: outgoing.incarnation };
        if let Err(why) = self.core.topics.entry(topic).room_for(&log) {
            self.publish.bytes -= body.len();
            // The next publish asks once more whether an earlier log can be continued.
            if outgoing.is_idle() {
                self.publish.topics.remove(&topic);
                self.publish.active.remove(&topic);
            }
            return self.refuse_all(waiting, why);
        }
        let draft = Draft {
            topic,
            incarnation: outgoing.incarnation,
            previous: outgoing.previous,
            stamp,
            runs,
        };
        let batch = draft.seal(&body, &self.core.config.key);
        let known = self.core.topics.entry(topic);
        if !matches!(known.add(&batch), Ok(Added::New)) {
            // What is held of the log has changed since: damage has left too many holes in it, or
            // a batch of somebody else, with the same key, stands there.
            let runs = batch.header().runs.clone();
            outgoing.queued.push_front(Queued { runs, records: body, waiting });
            return outgoing.begin_anew(&mut self.core.random);
        }
        let log = known.logs[&batch.log()].clone();
        let is_pending = waiting.is_empty();
        outgoing.sealed(&batch);
        let number = self.append(batch.clone(), log);
        let outgoing = self.publish.topics.get_mut(&topic).expect("it was there above");
        outgoing.unacknowledged.push_back(Unacknowledged {
            batch: batch.clone(),
            bytes: body.len(),
            sealed: self.core.now.elapsed,
            receipts: BTreeSet::new(),
            written: Some(number),
            waiting,
            is_pending,
        });
        let log = batch.header().log();
        self.publish.unflushed.push_back((number, topic, log, batch.hash()));
        if is_pending {
            self.publish.outbox.put(&mut self.core, topic, &batch, 0);
        }
        self.retention.on_stored(&mut self.core, &batch);
        let sent_to = self.dispatch(topic, &batch, &BTreeSet::new());
        self.core.output(Output::Gossip { batch: batch.clone(), sent_to });
        self.arrived(&batch);
    }

    fn refuse_all(&mut self, waiting: Vec<Waiting>, why: TooManyLogs) {
        for Waiting { question, .. } in waiting {
            self.core.refuse(question, why.into());
        }
    }

    /// Sends a batch to the replicas that have not given a receipt for it; those that have it soon.
    pub(super) fn dispatch(
        &mut self,
        topic: TopicId,
        batch: &Batch,
        receipts: &BTreeSet<NodeId>,
    ) -> Vec<NodeId> {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return Vec::new();
        };
        let mut acting = known.placement(&self.core.members).acting.clone();
        acting.retain(|node| {
            *node != self.core.me
                && !receipts.contains(node)
                && self.send_batch(*node, topic, batch)
        });
        acting
    }

    /// Sends what is unacknowledged to the replicas of now.
    pub(in crate::engine) fn redispatch(&mut self) {
        for topic in self.publish.active.clone() {
            let Some(outgoing) = self.publish.topics.get(&topic) else {
                continue;
            };
            let batches: Vec<_> = outgoing
                .unacknowledged
                .iter()
                .map(|sealed| (sealed.batch.clone(), sealed.receipts.clone()))
                .collect();
            for (batch, receipts) in batches {
                self.dispatch(topic, &batch, &receipts);
            }
            self.own_receipts(topic);
            self.settle(topic);
        }
    }
}
