//! Known mistakes, one of which is planted at a time, so that the simulation must prove that it finds
//! them.
//!
//! This is `src/planted.rs` in the copy of the sources that `tests/planted/run` makes, and nowhere
//! else. `bugs.patch` has the conditions. `docs/simulation.md` says what each bug breaks, how long it
//! stays hidden, and how to add one.

use std::cell::Cell;

/// A known mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The writer counts its own copy before it is flushed.
    AnsweredBeforeFlush,
    /// A replica gives its receipt before the flush.
    ReceiptBeforeFlush,
    /// Frontiers are compared by the highest number of each writer, not by logs and heads.
    DigestByNumbers,
    /// A home replica that did not answer counts as one that holds everything.
    HandedOverUnproven,
    /// What was sent to a home replica counts as held by it.
    SentIsHeld,
    /// A restart goes on with the old incarnation where the disk ends.
    SequenceReused,
    /// A subscription's position is kept though no such record exists.
    PositionPastLog,
    /// Batches of one writer are told apart by sequence number alone.
    IncarnationIgnored,
    /// The place of a node that is gone is not given to another one.
    CopyForgotten,
    /// The writer's own disk counts as two copies.
    ReceiptCountedTwice,
    /// A reader is led past what its node does not hold.
    HoleSkipped,
    /// A survey calls itself complete one answer too early.
    SurveyTooEarly,
    /// A publish whose time is over is called a success.
    PendingIsSuccess,
    /// A store that meets a damaged batch cuts the log off there.
    TruncatedAtDamage,
    /// A batch is acknowledged though one before it in its log is not.
    AcknowledgedOutOfOrder,
    /// A damaged batch is still claimed, as if it could be read.
    DamageIgnored,
    /// A hole is passed over though a node that may hold it was not asked.
    HolePassedUnproven,
    /// A batch for a position that is held is taken for the one that is held there.
    ForkAnsweredAsHeld,
    /// Of two branches of a log one is thrown away.
    BranchThrownAway,
    /// What was given to a member of a group counts as done.
    GivenIsDone,
    /// A record of a key is given to a member though another one has an earlier one.
    KeyDivided,
    /// What was stored before a start is not known to be there.
    RecentForgotten,
    /// What is pending is taken out of the outbox though it lacks copies.
    OutboxForgotten,
    /// A publisher is told that its records are pending before they are flushed.
    PendingBeforeFlush,
    /// Compaction takes batches away before every home has what supersedes them.
    CompactedUnsettled,
    /// A tombstone goes while older records of its key are left.
    TombstoneTooEarly,
    /// Any batch is taken for one of those whose place a compacted part has.
    CompactedIsAny,
    /// A node takes its own clock for right, and every stamp.
    ClockBelieved,
    /// A copy is given up without a proof that strangers hold it.
    HandedOverToStrangers,
    /// An end counts without the header of the batch that ends there.
    EndBelieved,
    /// One home replica's word is enough that records were trimmed.
    TrimBelieved,
    /// A removal that comes by a comparison is not taken in.
    RemovalNotCompared,
    /// A removal is not written to the store.
    StatementNotKept,
    /// Who is removed while it is away stays a home replica.
    AwayNotPutOut,
    /// Who was removed is dialled if somebody speaks of it, and is answered.
    BackByHearsay,
    /// Of two passes of one turn the one holds that came last.
    LatestPassWins,
    /// Who was removed stays a member by its ticket.
    ClaimOutlivesRemoval,
    /// What lies beyond the cut of a closed log is taken.
    ClosureIgnored,
    /// What is held beyond a cut stays.
    TailKept,
    /// A writer that is a member again goes on with the log of the time before.
    OldLogContinued,
}

impl Bug {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::AnsweredBeforeFlush,
        Self::ReceiptBeforeFlush,
        Self::DigestByNumbers,
        Self::HandedOverUnproven,
        Self::SentIsHeld,
        Self::SequenceReused,
        Self::PositionPastLog,
        Self::IncarnationIgnored,
        Self::CopyForgotten,
        Self::ReceiptCountedTwice,
        Self::HoleSkipped,
        Self::SurveyTooEarly,
        Self::PendingIsSuccess,
        Self::TruncatedAtDamage,
        Self::AcknowledgedOutOfOrder,
        Self::DamageIgnored,
        Self::HolePassedUnproven,
        Self::ForkAnsweredAsHeld,
        Self::BranchThrownAway,
        Self::GivenIsDone,
        Self::KeyDivided,
        Self::RecentForgotten,
        Self::OutboxForgotten,
        Self::PendingBeforeFlush,
        Self::CompactedUnsettled,
        Self::TombstoneTooEarly,
        Self::CompactedIsAny,
        Self::ClockBelieved,
        Self::HandedOverToStrangers,
        Self::EndBelieved,
        Self::TrimBelieved,
        Self::RemovalNotCompared,
        Self::StatementNotKept,
        Self::AwayNotPutOut,
        Self::BackByHearsay,
        Self::LatestPassWins,
        Self::ClaimOutlivesRemoval,
        Self::ClosureIgnored,
        Self::TailKept,
        Self::OldLogContinued,
    ];

    /// Whether it shows only where nodes lie.
    pub fn needs_liars(self) -> bool {
        matches!(self, Self::HandedOverToStrangers | Self::EndBelieved | Self::TrimBelieved)
    }

    /// Whether it shows only in closed networks.
    pub fn needs_a_roster(self) -> bool {
        matches!(
            self,
            Self::RemovalNotCompared
            | Self::StatementNotKept
            | Self::AwayNotPutOut
            | Self::BackByHearsay
            | Self::LatestPassWins
            | Self::ClaimOutlivesRemoval
            | Self::ClosureIgnored
            | Self::TailKept
            | Self::OldLogContinued
        )
    }
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in the engines of this thread, in place of the one before.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether a bug is planted.
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether a bug is planted: `planted!(HoleSkipped)`.
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is_planted($crate::planted::Bug::$bug)
    };
}
