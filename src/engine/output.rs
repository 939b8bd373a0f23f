//! What the engine asks of the world.

use std::sync::Arc;

use super::{
    holdings::{
        Damage, Pending,
        early::Early,
        ledger::Step,
        log::{AddError, Log},
        sweep::Sweep,
    },
    ids::{AskId, QuestionId, Ticket, WriteNumber},
};
use crate::{
    model::{
        Batch, Compacted, ForkProof, LogId, NodeId, SignedDescriptor, SubscriberName, Subscription,
        TopicId,
        roster::{Roster, Slot, Statement},
    },
    wire::{Contact, LogRange, MemberState, Request, Response},
};

/// What to do. The order is the order in which it must be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Answer a question, once every write up to `after` is flushed.
    Answer {
        /// Which question.
        question: QuestionId,
        /// The answer.
        response: Response,
        /// The write that must be flushed first; none if it may go at once.
        after: Option<WriteNumber>,
    },
    /// Ask another node. At most one `Input::Told` follows; the engine itself knows how long
    /// it waits.
    Ask {
        /// Names it.
        ask: AskId,
        /// Whom.
        to: NodeId,
        /// What.
        request: Request,
    },
    /// Write to the store. Writes are applied in order; `Input::Durable` follows when this
    /// and all before it are flushed.
    Write(WriteNumber, Write),
    /// Read from the store once every write up to `after` is flushed. Exactly one
    /// `Input::ReadDone` follows.
    Read {
        /// Names it.
        ticket: Ticket,
        /// The topic.
        topic: TopicId,
        /// What to read. Logs are merged by stamp; a log ends at its first gap. For a single record
        /// whose batch was trimmed the header is read, if it is kept.
        ranges: Vec<LogRange>,
        /// What is shown before others, whatever its stamp.
        early: Early,
        /// Most bytes of batches; the first batch comes whatever its size.
        bytes_max: usize,
        /// The write that must be flushed first.
        after: Option<WriteNumber>,
    },
    /// Read a range of a log from the disk, once every write up to `after` is flushed, and check
    /// every byte. Exactly one `Input::CheckDone` follows. Damage is reported as
    /// `Input::Damaged`, too.
    Check {
        /// Names it.
        ticket: Ticket,
        /// The topic.
        topic: TopicId,
        /// What to read.
        range: LogRange,
        /// About how many bytes of batches; at least one batch.
        bytes_max: usize,
        /// The write that must be flushed first.
        after: Option<WriteNumber>,
    },
    /// Find out how much is stored of parts of logs, once every write up to `after` is flushed.
    /// Exactly one `Input::MeasureDone` follows, with `MEASURED_PARTS_MAX` parts at
    /// most.
    Measure {
        /// Names it.
        ticket: Ticket,
        /// The topic.
        topic: TopicId,
        /// The parts.
        ranges: Vec<LogRange>,
        /// The write that must be flushed first.
        after: Option<WriteNumber>,
    },
    /// Find out what compaction may take away of a topic ([`Sweep::run`]), once every write up to
    /// `after` is flushed. It may take long, and others need not wait for it. Exactly one
    /// `Input::SweepDone` follows.
    Sweep {
        /// Names it.
        ticket: Ticket,
        /// The topic.
        topic: TopicId,
        /// What is looked through.
        sweep: Sweep,
        /// The write that must be flushed first.
        after: Option<WriteNumber>,
    },
    /// All that this node held is with others: it leaves the network, and its process ends.
    Left,
    /// Fan a sealed batch out on its topic's mesh. Best effort.
    Gossip {
        /// The batch.
        batch: Batch,
        /// The replicas that have it soon all the same: where nobody else follows the topic, the
        /// mesh is not needed.
        sent_to: Vec<NodeId>,
    },
    /// Join the gossip mesh of a topic.
    Follow(TopicId),
    /// Leave it.
    Unfollow(TopicId),
    /// Announce in the table that this node holds a topic.
    Provide(TopicId),
    /// Withdraw that.
    Unprovide(TopicId),
    /// Find in the table who says that it holds a topic. `Input::Located` follows.
    Locate(TopicId),
    /// Connect to a node. `Input::Connected` follows if that succeeds.
    Dial(Contact),
    /// Close the connections to a node that has gone silent.
    Disconnect(NodeId),
    /// Who belongs to this closed network, from now on.
    Roster(Arc<Roster>),
    /// Tell the operator.
    Report(Report),
}

/// Something that an operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Another node is in another state than before.
    Member(NodeId, MemberState),
    /// Another node says that it is stopping.
    Stopping(NodeId),
    /// A writer, or somebody with its key, signed two batches for one position. Reported once.
    Fork(TopicId, LogId, AddError),
    /// A stored batch was damaged. It is counted as missing, and repair brings it again.
    Damaged(Damage),
    /// All that this node held of a topic for others is with its home replicas, and was removed
    /// here.
    HandedOver(TopicId),
    /// A node says that it holds what it cannot prove to hold. Reported once, until it can.
    Unproven(NodeId),
    /// A home replica of this topic takes what it is brought, and says afterwards that it lacks it.
    /// It is brought more ever more rarely.
    ShowsNothing(NodeId, TopicId),
    /// The clock of another node is off, by milliseconds; ahead where that is positive.
    ClockOff(NodeId, i64),
    /// The same of this node's own clock, as most others say: it goes by theirs.
    OwnClockOff(i64),
    /// A batch of this topic and writer is stamped this many milliseconds in the future.
    EarlyStamp(TopicId, NodeId, u64),
    /// Records of this writer do not count, in this number of topics: nobody has admitted it to
    /// this closed network. Reported once.
    UnadmittedWriter(NodeId, usize),
}

/// A change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Store a batch, and what is then held of its log.
    Append {
        /// The batch.
        batch: Batch,
        /// The log with it.
        log: Log,
    },
    /// Remove the batches of a log that lie between two sequence numbers, but for those headers
    /// that the log keeps as it is then ([`Log::keeps_header`]), and headers that it does not keep.
    Drop {
        /// The topic.
        topic: TopicId,
        /// The log.
        log_id: LogId,
        /// Sequence number of the first record that is removed; zero for all up to `to`.
        from: u64,
        /// Sequence number after the last record that is removed.
        to: u64,
        /// The log without them; none when nothing of it is left.
        log: Option<Log>,
    },
    /// Keep the place of a part of a log, whose batches compaction took away: those that are stored
    /// go, and so do smaller parts.
    Compact {
        /// The topic.
        topic: TopicId,
        /// The part.
        part: Compacted,
        /// The log with it.
        log: Log,
    },
    /// Stop counting a damaged batch as stored. What is left of its bytes is no longer of use; if
    /// they can be read after all, the batch stays.
    Quarantine {
        /// Which.
        damage: Damage,
        /// The log without it.
        log: Log,
    },
    /// Keep the position of a named subscription, or forget it.
    Subscription {
        /// The topic.
        topic: TopicId,
        /// The name.
        name: SubscriberName,
        /// The position; none when its home replicas keep it.
        subscription: Option<Subscription>,
    },
    /// Keep the terms of a topic: what is held of it is of no use without them.
    Descriptor(TopicId, SignedDescriptor),
    /// Keep what was received in one go, or forget it.
    Step {
        /// The topic.
        topic: TopicId,
        /// Which step of the topic.
        number: u64,
        /// What was received; none when that is of no use any more.
        step: Option<Step>,
    },
    /// Keep that part of a log was told to be pending, or forget it.
    Outbox {
        /// The topic.
        topic: TopicId,
        /// The log.
        log: LogId,
        /// From where on; none when all of it has its copies.
        pending: Option<Pending>,
    },
    /// Keep the proof that a log has forked.
    Fork(ForkProof),
    /// Keep a statement of the roster, or forget it.
    Statement {
        /// What it is about.
        slot: Slot,
        /// The statement; none when the roster has none any more.
        statement: Option<Statement>,
    },
    /// Keep where a node was last known.
    Contact(Contact),
    /// Forget a node.
    Forget(NodeId),
}
