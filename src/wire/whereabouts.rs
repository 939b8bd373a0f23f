//! Where records are that may be stored already.

use minicbor::{Decode, Encode};

use crate::model::LogId;

/// Where a node holds records of one producer, next to each other in one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Whereabouts {
    /// The log.
    #[n(0)]
    pub log: LogId,
    /// Sequence number of the first of the records there.
    #[n(1)]
    pub first: u64,
    /// Whether the node holds everything before them in the log that the topic keeps.
    #[n(2)]
    pub whole: bool,
}
