//! Asking the store, and handing on what it says.

use super::{Engine, Output, Page, Response, Ticket, WriteNumber};
use crate::{model::TopicId, wire::LogRange};

impl Engine {
    /// Names the next read of the store, and says the write that must be flushed before it.
    pub(super) fn next_read(&mut self) -> (Ticket, Option<WriteNumber>) {
        self.next_ticket.0 += 1;
        (self.next_ticket, self.unflushed())
    }

    /// Asks the store for batches.
    pub(super) fn read_store(
        &mut self,
        topic: TopicId,
        ranges: Vec<LogRange>,
        bytes_max: usize,
    ) -> Ticket {
        let (ticket, after) = self.next_read();
        self.outputs.push_back(Output::Read { ticket, topic, ranges, bytes_max, after });
        ticket
    }

    pub(super) fn read_done(&mut self, ticket: Ticket, page: Option<Page>) {
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
