//! What members of a group and its coordinator tell each other.

use minicbor::{Decode, Encode};

use super::LogRange;
use crate::model::{MemberId, SubscriberName, TopicName};

/// Which member of which group asks, and how many nodes have passed this on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Membership {
    /// The topic.
    #[n(0)]
    pub topic: TopicName,
    /// The group: a subscription's name.
    #[n(1)]
    pub group: SubscriberName,
    /// The member.
    #[n(2)]
    pub member: MemberId,
    /// The generation of the subscription that the message is about.
    #[n(3)]
    pub generation: u64,
    /// Nodes that have passed this on. They may not agree on who coordinates the group.
    #[n(4)]
    pub hops: u8,
}

/// What a member has done since it last said so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Settlement {
    /// Records that it acknowledges.
    #[cbor(n(0), decode_with = "super::bounded::group_ranges", skip_if = "Vec::is_empty", default)]
    pub acknowledged: Vec<LogRange>,
    /// Records that it returns unread. They go to others at once, and this delivery does not count.
    #[cbor(n(1), decode_with = "super::bounded::group_ranges", skip_if = "Vec::is_empty", default)]
    pub returned: Vec<LogRange>,
    /// Records that it rejects.
    #[cbor(n(2), decode_with = "super::bounded::rejections", skip_if = "Vec::is_empty", default)]
    pub rejected: Vec<Rejection>,
    /// Records for which it needs the visibility timeout again.
    #[cbor(n(3), decode_with = "super::bounded::group_ranges", skip_if = "Vec::is_empty", default)]
    pub extended: Vec<LogRange>,
}

/// Records that a member failed with.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rejection {
    /// Which.
    #[n(0)]
    pub range: LogRange,
    /// Why; cut off after [`REASON_BYTES_MAX`](crate::limits::REASON_BYTES_MAX) bytes.
    #[n(1)]
    pub reason: String,
    /// After how many milliseconds they are delivered again.
    #[n(2)]
    pub delay_ms: u32,
}

/// A member asks for records.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Take {
    /// Who asks.
    #[n(0)]
    pub membership: Membership,
    /// Counts its answered requests. A repeated request gets the same records.
    #[n(1)]
    pub turn: u64,
    /// What it holds. A new coordinator learns it from here.
    #[cbor(n(2), decode_with = "super::bounded::group_ranges", skip_if = "Vec::is_empty", default)]
    pub holding: Vec<LogRange>,
    /// What it has done.
    #[n(3)]
    pub settlement: Settlement,
    /// Most records that it takes.
    #[n(4)]
    pub records_max: u32,
    /// About how many bytes of records it takes; at least one comes, whatever its size.
    #[n(5)]
    pub bytes_max: u32,
    /// How many milliseconds to wait when there is nothing yet (long poll).
    #[n(6)]
    pub wait_ms: u32,
    /// The visibility timeout, in milliseconds.
    #[n(7)]
    pub visibility_ms: u32,
    /// After how many deliveries a record is given out as a dead letter.
    #[n(8)]
    pub deliveries_max: u32,
}

/// A member tells what it has done.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Settle {
    /// Who tells.
    #[n(0)]
    pub membership: Membership,
    /// What it has done.
    #[n(1)]
    pub settlement: Settlement,
    /// The visibility timeout of records that need more time, in milliseconds from now.
    #[n(2)]
    pub visibility_ms: u32,
}

/// Records for a member, in the order in which it must process them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Taken {
    /// The generation of the subscription. If the member named another one, it holds nothing any
    /// more.
    #[n(0)]
    pub generation: u64,
    /// The records: where they are. The member reads them like any others.
    #[cbor(n(1), decode_with = "super::bounded::assignments")]
    pub assignments: Vec<Assignment>,
}

/// Records of one log that a member is given.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Assignment {
    /// Which.
    #[n(0)]
    pub range: LogRange,
    /// The number of this delivery of each of them, from 1.
    #[n(1)]
    pub deliveries: u32,
    /// For records that were delivered too often: why the last delivery failed. They are dead
    /// letters.
    #[n(2)]
    pub bury: Option<String>,
}
