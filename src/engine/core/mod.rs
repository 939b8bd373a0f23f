//! What all wings share: who this node is, what time it is, whom and which topics it knows, and
//! what it asks of the world.
//!
//! A wing borrows the core together with its own state. Nothing here knows a wing.

mod time;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use super::{
    holdings::{early::Early, log::Log, topics::Topics},
    ids::{QuestionId, Ticket, WriteNumber},
    inflight::{
        asks::{Asks, Purpose},
        stored::ReadPurpose,
    },
    input::{Config, Now},
    members::{Members, clocks::Clocks},
    output::{Output, Report, Write},
};
use crate::{
    model::{Clock, Hash, LogId, NodeId, Stamp, TopicId},
    wire::{Address, Contact, LogRange, Refusal, Request, Response},
};

/// What all wings share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) me: NodeId,
    /// Where this node can be reached.
    pub(super) addresses: Vec<Address>,
    /// The moment of the input, by the time that this node goes by.
    pub(super) now: Now,
    /// Stamps the batches of this node.
    pub(super) clock: Clock,
    pub(super) clocks: Clocks,
    pub(super) random: fastrand::Rng,
    pub(super) members: Members,
    pub(super) topics: Topics,
    /// Requests to other nodes.
    pub(super) asks: Asks,
    /// The newest write.
    pub(super) written: WriteNumber,
    /// The newest write that is flushed, with all before it.
    pub(super) durable: WriteNumber,
    next_ticket: Ticket,
    nonces: u64,
    /// What batches are read from the store for.
    store_reads: BTreeMap<Ticket, ReadPurpose>,
    /// Whether the disk has room for records.
    pub(super) room: bool,
    outputs: VecDeque<Output>,
}

impl Core {
    /// The core of a node that knows these topics and nodes. Its own newest batch has this stamp.
    pub(super) fn new(
        config: Config,
        topics: Topics,
        contacts: Vec<Contact>,
        newest: Stamp,
    ) -> Self {
        let me = config.key.node();
        // An admin has vouched for every member of a closed network.
        let is_closed = config.closed.is_some();
        let probation = if is_closed { Duration::ZERO } else { config.probation };
        Self {
            me,
            addresses: Vec::new(),
            now: Now::default(),
            clock: Clock::after(newest),
            clocks: Clocks::default(),
            random: fastrand::Rng::with_seed(config.seed),
            members: Members::new(me, config.gone_after, contacts).on_probation(probation),
            topics,
            asks: Asks::default(),
            written: WriteNumber(0),
            durable: WriteNumber(0),
            next_ticket: Ticket(0),
            nonces: 0,
            store_reads: BTreeMap::new(),
            room: true,
            outputs: VecDeque::new(),
            config,
        }
    }

    // --- outputs ---------------------------------------------------------------------------

    /// Asks something of the world, after all that was asked before.
    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// The next thing that is asked of the world.
    pub(super) fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Tells the operator.
    pub(super) fn report(&mut self, report: Report) {
        self.output(Output::Report(report));
    }

    /// Answers at once.
    pub(super) fn answer(&mut self, question: QuestionId, response: Response) {
        self.output(Output::Answer { question, response, after: None });
    }

    /// Answers once all that was written so far is flushed.
    pub(super) fn answer_flushed(&mut self, question: QuestionId, response: Response) {
        let after = self.unflushed();
        self.output(Output::Answer { question, response, after });
    }

    /// Answers that the request was not carried out.
    pub(super) fn refuse(&mut self, question: QuestionId, refusal: Refusal) {
        self.answer(question, Response::Refused(refusal));
    }

    /// Answers that the request makes no sense.
    pub(super) fn refuse_invalid(&mut self, question: QuestionId, reason: impl fmt::Display) {
        self.refuse(question, Refusal::Invalid(reason.to_string()));
    }

    /// Bytes that nobody without this node's key can foretell, and that never come again.
    pub(super) fn nonce(&mut self) -> [u8; 32] {
        self.nonces += 1;
        let life = self.config.incarnation.0.to_be_bytes();
        let message = [&b"antiphon/nonce/1\0"[..], &life, &self.nonces.to_be_bytes()].concat();
        blake3::hash(&self.config.key.sign(&message)).into()
    }

    /// Asks another node.
    pub(super) fn ask(
        &mut self,
        to: NodeId,
        request: impl Into<Request>,
        timeout: Duration,
        purpose: Purpose,
    ) {
        let ask = self.asks.put(to, self.now.elapsed, timeout, purpose);
        self.output(Output::Ask { ask, to, request: request.into() });
    }

    // --- the store -------------------------------------------------------------------------

    /// Changes the store. Batches are stored by `Engine::append`, which the dedup window needs.
    pub(super) fn write(&mut self, write: Write) -> WriteNumber {
        self.written.0 += 1;
        self.output(Output::Write(self.written, write));
        self.written
    }

    /// Stores what is known of a log, where nothing else of it changes.
    pub(super) fn write_log(&mut self, topic: TopicId, log_id: LogId, log: Log) {
        // What lies below the low watermark is gone already.
        let to = log.low;
        self.write(Write::Drop { topic, log_id, from: 0, to, log: Some(log) });
    }

    /// Cuts a log off at `to`, where the batch `head` ends.
    pub(super) fn cut_log(&mut self, topic: TopicId, log_id: LogId, to: u64, head: Option<Hash>) {
        let known = self.topics.get_mut(&topic);
        if let Some(log) = known.and_then(|known| known.cut(&log_id, to, head)) {
            self.write_log(topic, log_id, log);
        }
    }

    /// Every write up to this one is flushed.
    pub(super) fn flushed(&mut self, number: WriteNumber) {
        debug_assert!(number <= self.written, "only what was written is flushed");
        self.durable = self.durable.max(number);
    }

    /// The newest write, where it is not flushed yet.
    pub(super) fn unflushed(&self) -> Option<WriteNumber> {
        (self.written > self.durable).then_some(self.written)
    }

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
        purpose: ReadPurpose,
    ) {
        let (ticket, after) = self.next_read();
        self.store_reads.insert(ticket, purpose);
        let early = self.early(topic);
        self.output(Output::Read { ticket, topic, ranges, early, bytes_max, after });
    }

    /// What the store was asked for batches for. Each read is answered once.
    pub(super) fn store_read(&mut self, ticket: Ticket) -> Option<ReadPurpose> {
        let purpose = self.store_reads.remove(&ticket);
        debug_assert!(purpose.is_some(), "each read of the store is answered once");
        purpose
    }

    /// Asks the store how much it holds of parts of logs.
    pub(super) fn measure(&mut self, topic: TopicId, ranges: Vec<LogRange>) -> Ticket {
        let (ticket, after) = self.next_read();
        self.output(Output::Measure { ticket, topic, ranges, after });
        ticket
    }

    /// What is too early of a topic, now.
    pub(super) fn early(&self, topic: TopicId) -> Early {
        let logs = self.topics.get(&topic).into_iter().flat_map(|known| &known.logs);
        let marked = logs.filter(|(_, log)| !log.early.is_empty());
        let parts = marked.map(|(id, log)| (*id, log.early.clone())).collect();
        Early { after: Stamp::latest_at(self.now.wall), parts }
    }
}
