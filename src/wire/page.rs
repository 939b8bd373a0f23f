//! Pages: the batches of one answer.

use minicbor::{Decode, Encode};

use super::LogRange;
use crate::model::{Batch, Compacted, SignedHeader, TopicId};

/// Batches, in the order in which readers are shown them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map, context_bound = "crate::model::Share")]
pub struct Page {
    /// The batches. The first one of a log may start before the requested record.
    #[n(0)]
    pub batches: Vec<Batch>,
    /// Whether this is all that was asked for.
    #[n(1)]
    pub finished: bool,
    /// Records that no node of the network holds any more. Each range is followed in the page by a
    /// batch, or by another skipped range.
    #[cbor(n(2), decode_with = "super::bounded::ranges", skip_if = "Vec::is_empty", default)]
    pub lost: Vec<LogRange>,
    /// Records that were trimmed, followed in the same way.
    #[cbor(n(3), decode_with = "super::bounded::ranges", skip_if = "Vec::is_empty", default)]
    pub trimmed: Vec<LogRange>,
    /// Compacted ranges. The batch that follows each of them is in the page. If that batch is
    /// missing, the range ends its log; only nodes are told about such a range.
    #[cbor(n(4), decode_with = "super::bounded::compacted", skip_if = "Vec::is_empty", default)]
    pub compacted: Vec<Compacted>,
    /// Headers of trimmed batches: for a range of a single record whose batch was trimmed and whose
    /// header is kept.
    #[cbor(n(5), decode_with = "super::bounded::headers", skip_if = "Vec::is_empty", default)]
    pub headers: Vec<SignedHeader>,
    /// Records that exist, because their writer has signed where its log ends, and that no node
    /// gives which can be asked. Their writer is not established at the asked node. Only in the
    /// last page of a read that has an end.
    #[cbor(n(6), decode_with = "super::bounded::ranges", skip_if = "Vec::is_empty", default)]
    pub withheld: Vec<LogRange>,
}

impl Page {
    /// Whether all its batches belong to the topic.
    pub fn is_of(&self, topic: TopicId) -> bool {
        self.batches.iter().all(|batch| batch.header().topic == topic)
    }
}

/// Batches of one of several topics that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
pub struct TopicPage {
    /// Which of the topics in the request, counted from zero.
    #[n(0)]
    pub which: u32,
    /// Its batches.
    #[n(1)]
    pub page: Page,
}
