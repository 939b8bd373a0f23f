//! Pages: what a store or a node gives of a topic at a time.

use minicbor::{Decode, Encode};

use super::LogRange;
use crate::model::{Batch, Compacted, SignedHeader};

/// Batches, in the order in which readers are shown them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map, context_bound = "crate::model::Share")]
pub struct Page {
    /// The batches. The first of a log may start before the record that was asked for.
    #[n(0)]
    pub batches: Vec<Batch>,
    /// Whether this is all that was asked for.
    #[n(1)]
    pub finished: bool,
    /// Records that no node of the network holds any more. What follows each of these ranges is in
    /// the page: a batch, or another range that is passed over.
    #[cbor(n(2), decode_with = "super::bounded::ranges", skip_if = "Vec::is_empty", default)]
    pub lost: Vec<LogRange>,
    /// Records that the topic's retention let go, followed in the same way.
    #[cbor(n(3), decode_with = "super::bounded::ranges", skip_if = "Vec::is_empty", default)]
    pub trimmed: Vec<LogRange>,
    /// Records that compaction took away. The batch that follows each of these parts is in the
    /// page, but where it is missing: then the part ends its log, and is told to nodes only.
    #[cbor(n(4), decode_with = "super::bounded::compacted", skip_if = "Vec::is_empty", default)]
    pub compacted: Vec<Compacted>,
    /// Headers of batches that the topic's retention let go: where a single record was asked for
    /// that was in one of them, and its header is kept.
    #[cbor(n(5), decode_with = "super::bounded::headers", skip_if = "Vec::is_empty", default)]
    pub headers: Vec<SignedHeader>,
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
