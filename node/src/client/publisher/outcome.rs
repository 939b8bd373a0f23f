//! What became of a published record.

use antiphon::{
    model::{GivenIdError, RecordError, RecordId},
    wire::Published,
};
use thiserror::Error;

use super::Pending;
use crate::client::{LinkError, Refusal};

/// Says that a published record is acknowledged: it is flushed to as many disks as its publisher
/// asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The record's id. Readers see the same one.
    pub id: RecordId,
    /// How many disks have the record flushed: `wanted` or more. Later there are more, up to
    /// `replicas`.
    pub copies: u16,
    /// How many of those disks belong to stand-ins: nodes that hold records for a replica that is
    /// away, until it is back.
    pub stand_ins: u16,
    /// How many copies the acknowledgement needed.
    pub wanted: u16,
    /// How many replicas the topic wants.
    pub replicas: u16,
    /// Whether the record was stored before, or was on its way. Then this publish stored nothing.
    ///
    /// Without an id that you gave, this means only that the client itself had sent the record
    /// before, to a node that did not answer.
    pub duplicate: bool,
}

impl Receipt {
    pub(super) fn new(id: RecordId, published: &Published) -> Self {
        let Published { copies, stand_ins, wanted, replicas, duplicate, .. } = *published;
        Self { id, copies, stand_ins, wanted, replicas, duplicate }
    }
}

/// Why a record is not acknowledged, and what to do about it.
///
/// | Case | Is it stored? | What to do |
/// |---|---|---|
/// | [`Pending`](Self::Pending) | yes, on too few disks | [wait](Pending::wait), do not repeat |
/// | [`NotSent`](Self::NotSent) | no | publish it again when a node answers |
/// | [`Refused`](Self::Refused) | no | if [retriable](Self::is_retriable), publish it again |
/// | [`Unknown`](Self::Unknown) | perhaps | if you gave it an id, publish it again; else look |
/// | [`Record`](Self::Record), [`Id`](Self::Id) | no | give up: mend the record |
/// | [`Stopped`](Self::Stopped) | no | publish it through a new publisher |
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// A node stored the record, and too few replicas confirmed it in time. The record is in the
    /// node's outbox on its disk, and the node delivers it when replicas are back. If that one disk
    /// is lost before, the record may be lost.
    #[error("{0}")]
    Pending(Pending),
    /// The record is above a limit, or has a header of Antiphon's own. Nothing was sent.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The given id is empty or too long. Nothing was sent.
    #[error(transparent)]
    Id(#[from] GivenIdError),
    /// The node refused the record. Nothing was stored.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No node could be reached in time. The record was sent to none, so nothing was stored.
    #[error("the record was not stored: {0}")]
    NotSent(LinkError),
    /// The record was sent to a node, which did not answer. It may have stored the record or not.
    #[error("it is not known whether the record was stored: {cause}")]
    Unknown {
        /// The record's id. A program can look for it among what is stored: it is the
        /// [`Delivered::id`](crate::client::Delivered::id) of the record.
        id: RecordId,
        /// Why there was no answer.
        cause: LinkError,
    },
    /// The publisher has stopped, as [`PublishOptions::stop_at_failure`] says. Nothing was sent.
    ///
    /// [`PublishOptions::stop_at_failure`]: super::PublishOptions::stop_at_failure
    #[error("the publisher has stopped")]
    Stopped,
}

impl PublishError {
    /// Whether publishing the same record again may succeed, and cannot store a second copy.
    ///
    /// True of these:
    ///
    /// - [`NotSent`](Self::NotSent);
    /// - a refusal that [passes](Refusal::is_passing): a busy node, a full disk, replicas that are
    ///   away;
    /// - [`Unknown`](Self::Unknown), if the record has an
    ///   [id that you gave](antiphon::model::Record::with_id).
    ///
    /// Pause before you try again: the publisher has tried for the whole [`timeout`] already.
    ///
    /// False of [`Pending`](Self::Pending): the record will be delivered, so wait for it instead.
    ///
    /// [`timeout`]: field@super::PublishOptions::timeout
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::NotSent(_) => true,
            Self::Refused(refusal) => refusal.is_passing(),
            Self::Unknown { id, .. } => id.is_given(),
            Self::Pending(_) | Self::Record(_) | Self::Id(_) | Self::Stopped => false,
        }
    }

    /// The same error for this record of a request.
    pub(super) fn of_record(self, id: RecordId) -> Self {
        match self {
            Self::Unknown { cause, .. } => Self::Unknown { id, cause },
            other => other,
        }
    }
}
