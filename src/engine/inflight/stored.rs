//! Asking the store, and handing on what it says.

use crate::{
    engine::{
        Engine,
        holdings::{early::Early, log::Log},
        ids::{QuestionId, Ticket, WriteNumber},
        output::{Output, Write},
        planted::{Bug, planted},
    },
    model::{LogId, Stamp, TopicId},
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
    ) -> Ticket {
        let (ticket, after) = self.next_read();
        let early = self.early(topic);
        self.outputs.push_back(Output::Read { ticket, topic, ranges, early, bytes_max, after });
        ticket
    }

    pub(in crate::engine) fn read_done(&mut self, ticket: Ticket, page: Option<Page>) {
        if let Some(question) = self.reads.take_fetch(ticket) {
            self.answer(question, Response::Page(page.unwrap_or_default()));
        } else if let Some((topic, node)) = self.handover.take_ticket(ticket) {
            self.hand_over_page(topic, node, page);
        } else if let Some((topic, number)) = self.handover.proof_tickets.remove(&ticket) {
            let page = Response::Page(page.unwrap_or_default());
            self.handed_over_shown(topic, number, None, Ok(page));
        } else if let Some((check, topic)) = self.forks.take_ticket(ticket) {
            self.checked(check, topic, page);
        } else if let Some(search) = self.fork_searches.take_ticket(ticket) {
            self.fork_read(search, page);
        } else if let Some(topic) = self.recent.take_ticket(ticket) {
            self.recalled(topic, page);
        } else if let Some(filing) = self.fork_filing.take_ticket(ticket) {
            self.filing_read(filing, page);
        } else {
            self.lane_read(ticket, page);
        }
    }
}
