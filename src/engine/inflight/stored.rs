//! Asking the store, and handing on what it says.

use super::asks::{LaneId, Walk};
use crate::{
    engine::{
        Engine,
        holdings::{early::Early, log::Log},
        ids::{QuestionId, Ticket, WriteNumber},
        output::{Output, Write},
        planted::{Bug, planted},
    },
    model::{LogId, NodeId, Stamp, TopicId},
    wire::{LogRange, Page, Response},
};

/// Whom it is said what became of batches that were to be stored.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum Reply {
    /// A node that replicates them.
    Replicated(QuestionId),
    /// A node that imports them.
    Imported(QuestionId),
    /// An import of this node: which one.
    Own(u64),
}

/// What batches are read from the store for.
#[derive(Debug)]
pub(in crate::engine) enum ReadPurpose {
    /// To answer another node: this question.
    Fetch(QuestionId),
    /// To serve a reader: which read, and which lane of it.
    Lane(u64, LaneId),
    /// To hand a topic over to a node.
    HandOver(TopicId, NodeId),
    /// To see whether this node and the home replicas hold the very same: which proof.
    HandOverProof(TopicId, u64),
    /// To see whether a place is taken by another batch: which check.
    Check(u64, TopicId),
    /// To find where a log has forked.
    ForkSearch(TopicId, LogId),
    /// To file a part of a forked log under branches.
    File(TopicId, LogId),
    /// To find among headers the branch of a part.
    Headers(TopicId, LogId, Walk),
    /// To remember what was stored lately.
    Recall(TopicId),
}

impl Engine {
    /// The newest write, where it is not flushed yet.
    pub(in crate::engine) fn unflushed(&self) -> Option<WriteNumber> {
        (self.written > self.durable).then_some(self.written)
    }

    /// Stores what is known of a log, where nothing else of it changes.
    pub(in crate::engine) fn write_log(&mut self, topic: TopicId, log_id: LogId, log: Log) {
        // What lies below the low watermark is gone already.
        let to = log.low;
        self.write(Write::Drop { topic, log_id, from: 0, to, log: Some(log) });
    }

    /// Names the next read of the store, and says the write that must be flushed before it.
    pub(in crate::engine) fn next_read(&mut self) -> (Ticket, Option<WriteNumber>) {
        self.next_ticket.0 += 1;
        (self.next_ticket, self.unflushed())
    }

    /// What is too early of a topic, now.
    pub(in crate::engine) fn early(&self, topic: TopicId) -> Early {
        if planted(Bug::ClockBelieved) {
            return Early::none();
        }
        let logs = self.topics.get(&topic).into_iter().flat_map(|known| &known.logs);
        let marked = logs.filter(|(_, log)| !log.early.is_empty());
        let parts = marked.map(|(id, log)| (*id, log.early.clone())).collect();
        Early { after: Stamp::latest_at(self.now.wall), parts }
    }

    /// Asks the store for batches.
    pub(in crate::engine) fn read_store(
        &mut self,
        topic: TopicId,
        ranges: Vec<LogRange>,
        bytes_max: usize,
        purpose: ReadPurpose,
    ) {
        let (ticket, after) = self.next_read();
        self.store_reads.insert(ticket, purpose);
        let early = self.early(topic);
        self.outputs.push_back(Output::Read { ticket, topic, ranges, early, bytes_max, after });
    }

    /// Hands what the store has read to the part that asked for it.
    pub(in crate::engine) fn read_done(&mut self, ticket: Ticket, page: Option<Page>) {
        let Some(purpose) = self.store_reads.remove(&ticket) else {
            debug_assert!(false, "each read of the store is answered once");
            return;
        };
        match purpose {
            ReadPurpose::Fetch(question) => self.fetch_read(question, page),
            ReadPurpose::Lane(read, lane) => self.lane_done(read, lane, page),
            ReadPurpose::HandOver(topic, node) => self.hand_over_page(topic, node, page),
            ReadPurpose::HandOverProof(topic, number) => {
                let page = Response::Page(page.unwrap_or_default());
                self.handed_over_shown(topic, number, None, Ok(page));
            }
            ReadPurpose::Check(check, topic) => self.checked(check, topic, page),
            ReadPurpose::ForkSearch(topic, log) => {
                self.fork_compared(topic, log, &page.unwrap_or_default(), true);
            }
            ReadPurpose::Recall(topic) => self.recalled(topic, page),
            ReadPurpose::File(topic, log) => self.filing_read(topic, log, page),
            ReadPurpose::Headers(topic, log, walk) => self.headers_read(topic, log, walk, page),
        }
    }
}
