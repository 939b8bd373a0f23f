//! Storing one batch that another node has sent, and what that node is told of it.

use crate::{
    engine::{
        Engine,
        holdings::log::{AddError, Added, HeldSpan, TooManyLogs},
        inflight::stored::Reply,
    },
    model::{Batch, Blob, NodeId},
    wire::{Outcome, Refusal, Response},
};

impl Engine {
    /// Whether the place of a batch is held, by itself or by another one.
    pub(in crate::engine) fn is_place_taken(&self, batch: &Batch) -> bool {
        let (header, known) = (batch.header(), self.core.topics.get(&batch.header().topic));
        let spans = known.and_then(|known| known.logs.get(&batch.log())).map(|log| &log.spans);
        let taken = |span: &HeldSpan| span.first < header.next() && header.first < span.next;
        spans.is_some_and(|spans| spans.iter().any(taken))
    }

    /// What became of a batch that was not stored for it is held, or is not to be held again.
    pub(in crate::engine) fn outcome_of_held(&self, batch: &Batch) -> Outcome {
        if self.is_place_taken(batch) { Outcome::Present } else { Outcome::Trimmed }
    }

    /// Says what became of batches, once what was written for it is flushed.
    pub(in crate::engine) fn reply(&mut self, reply: Reply, outcomes: Vec<Outcome>) {
        match reply {
            Reply::Replicated(question) => {
                let outcomes = outcomes.into_iter().map(as_stored).collect();
                self.core.answer_flushed(question, Response::Replicated(outcomes));
            }
            Reply::Imported(question) => {
                self.core.answer_flushed(question, Response::Replicated(outcomes));
            }
            Reply::Own(import) => self.imported_here(import, outcomes),
        }
    }

    /// Stores a batch of another writer that a node has sent.
    pub(in crate::engine) fn store(
        &mut self,
        batch: &Batch,
        from: Option<NodeId>,
    ) -> Result<Added, Refusal> {
        let header = batch.header();
        if !self.core.room {
            return Err(Refusal::Full(None));
        }
        let own_log = self.writes_to(&header.topic, &header.log());
        let early = self.core.too_early(header, from);
        let counts = self.counts_for(from, batch);
        if let Some(deletion) = self.core.topics.deletion_of(&header.topic) {
            return Err(Refusal::Deleted(Blob(deletion.bytes().clone())));
        }
        let Some(topic) = self.core.topics.get_mut(&header.topic).filter(|topic| topic.is_known())
        else {
            let name = header.topic.to_string();
            return Err(Refusal::UnknownTopic { name, nearest: None });
        };
        if let Some(why) = topic.not_understood() {
            return Err(Refusal::Unsupported(Some(why)));
        }
        if !topic.admits(&header.writer) || !counts {
            return Err(Refusal::NotAWriter(header.topic.to_string()));
        }
        let topic_id = header.topic;
        if topic.is_misfiled(batch) {
            return Err(self.refusal_of_fork(topic_id, batch.log()));
        }
        let (members, now) = (&self.core.members, self.core.now.elapsed);
        let is_trusted = from.is_some_and(|node| topic.vouches(members, now, &node));
        if !is_trusted && !topic.has_room_for_stranger(&batch.log(), &self.core.members) {
            return Err(TooManyLogs::OfStrangers.into());
        }
        if let Some(refusal) = early {
            return Err(refusal);
        }
        if own_log && !topic.belongs_to(&self.core.members, &self.core.me) {
            // This node wrote it, gave it away, and is no place for it.
            return Err(Refusal::Invalid("the writer does not take its own batches back".into()));
        }
        match self.add_within_share(batch) {
            Ok((added, None)) => {
                if added == Added::Taken {
                    self.make_way(batch);
                }
                Ok(added)
            }
            Ok((added, Some(log))) => {
                let number = self.append(batch.clone(), log);
                self.stored_again(batch, number);
                self.retention.on_stored(&mut self.core, batch);
                self.core.note_stamp(batch);
                self.file_if_apart(batch);
                if header.writer == self.core.me {
                    // What this node wrote before is older than what it writes from now on.
                    self.core.clock.adopt(header.stamp);
                } else {
                    self.core.clock.observe(self.core.now.wall, header.stamp);
                }
                self.arrived(batch);
                self.written_elsewhere(batch);
                Ok(added)
            }
            Err(AddError::TooManyLogs(why)) => Err(why.into()),
            Err(error) => {
                if matches!(error, AddError::Fork { .. }) {
                    self.make_way(batch);
                    self.search_fork(topic_id, batch.log(), from);
                }
                Err(Refusal::Invalid(error.to_string()))
            }
        }
    }
}

/// A node that replicates a batch is told only that it is flushed, or was trimmed.
fn as_stored(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Present => Outcome::Stored,
        outcome => outcome,
    }
}
