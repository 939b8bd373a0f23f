//! What one node says of another, and of itself.

use minicbor::{Decode, Encode};

use super::{Address, MemberState};
use crate::{
    limits::PROGRAM_BYTES_MAX,
    model::{NodeId, WallClock},
};

/// A node as another one knows it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Peer {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// How it is.
    #[n(1)]
    pub state: MemberState,
    /// Round-trip time in microseconds, where it was measured.
    #[n(2)]
    pub round_trip_us: Option<u64>,
    /// Its addresses, without the peer id at the end.
    #[cbor(n(3), decode_with = "super::bounded::addresses")]
    pub addresses: Vec<Address>,
    /// Whether it said that it was stopping when it was there last.
    #[cbor(n(5), skip_if = "std::ops::Not::not", default)]
    pub stopped: bool,
    /// For how many milliseconds it has been there, if it is a newcomer. Only what a node says
    /// about itself counts; what it says about others is shown to people.
    #[n(6)]
    pub newcomer_ms: Option<u32>,
    /// What its clock reads, if the node speaks about itself.
    #[n(4)]
    pub wall: Option<WallClock>,
    /// How far its clock is ahead of the time of the asked node, in milliseconds, if it was
    /// measured.
    #[n(7)]
    pub clock_offset_ms: Option<i64>,
    /// The version of its program, if it has said it: up to [`PROGRAM_BYTES_MAX`] characters of
    /// ASCII that can be printed.
    #[cbor(n(8), decode_with = "shown", default)]
    pub program: Option<String>,
}

/// The version of this program.
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// A version that cannot be shown counts as absent.
fn shown<C>(
    decoder: &mut minicbor::Decoder<'_>,
    context: &mut C,
) -> Result<Option<String>, minicbor::decode::Error> {
    let text = Option::<&str>::decode(decoder, context)?;
    let is_shown = |text: &&str| {
        (1..=PROGRAM_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    Ok(text.filter(is_shown).map(str::to_owned))
}

impl Peer {
    /// A node of which nothing was measured.
    pub fn new(node: NodeId, state: MemberState, addresses: Vec<Address>) -> Self {
        Self {
            node,
            state,
            round_trip_us: None,
            addresses,
            stopped: false,
            newcomer_ms: None,
            wall: None,
            clock_offset_ms: None,
            program: None,
        }
    }
}
