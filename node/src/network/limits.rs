//! What one asker, one source and all of them together may take of this node, each with its unit
//! and its reason. What is over a limit is refused or cut off, and costs the asker.

use std::time::Duration;

use antiphon::limits::{
    ASK_TIMEOUT, AWAITS_MAX, MESSAGE_BYTES_MAX, NAMES_WAITING_MAX, PAGE_BYTES_MAX, QUESTIONS_MAX,
};

use super::rpc::ASKS_PER_PEER_MAX;

// --- bytes that askers make this node keep ---------------------------------------------------

/// Bytes of frames that have begun and are not taken in yet, over all peers.
pub(super) const FRAMES_BYTES_MAX: usize = 20 * 1024 * 1024;

/// The same of one peer: the largest message on each of its two streams.
pub(super) const FRAMES_BYTES_PER_PEER_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// Bytes of answers that their askers have not read yet, over all peers. While pages come and go,
/// the system's allocator takes several times as much.
pub(super) const ANSWERS_BYTES_MAX: usize = 24 * 1024 * 1024;

/// The same of one peer: some pages, so that the next one is read while one is on its way.
pub(super) const ANSWERS_BYTES_PER_PEER_MAX: usize = 3 * PAGE_BYTES_MAX + 1024 * 1024;

/// Bytes of unread answers on one stream beyond which its next request waits: a page.
pub(super) const ANSWERS_BYTES_BEFORE_NEXT_MAX: usize = PAGE_BYTES_MAX;

/// Requests that a client has under way beyond which its reads are answered in small pages. Each
/// may be in memory several times on its way.
pub(super) const LARGE_PAGES_PER_CLIENT_MAX: usize = 4;

/// Bytes of such a page. One batch comes in any case.
pub(super) const SMALL_PAGE_BYTES: u32 = 256 * 1024;

/// Pages that are on their way to one stream of a node. Beyond it the stream is not read, so
/// that nodes wait where clients, whose reads wait for records, are refused.
pub(super) const FETCHES_PER_STREAM_MAX: usize = 2;

/// Frames and answers up to this many bytes are not counted: how many there are is bounded by the
/// requests under way, and counting each would cost more than it keeps.
pub(super) const UNCOUNTED_BYTES_MAX: usize = 4 * 1024;

/// Bytes that must come, or be read, within [`STEP_TIME_MAX`] of each other while a frame is under
/// way. A link that carries less than 6 KB/s is of no use.
pub(super) const STEP_BYTES: usize = 64 * 1024;

/// Time for [`STEP_BYTES`], or for the rest of a frame.
pub(super) const STEP_TIME_MAX: Duration = Duration::from_secs(10);

/// Time without [`STEP_BYTES`] after which a stream loses what it keeps, if others need the room.
/// On a LAN a step takes a millisecond.
pub(super) const STALLED_AFTER: Duration = Duration::from_millis(250);

/// Time after which a frame that found no room looks again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

// --- connections -----------------------------------------------------------------------------

/// Incoming connections that are being set up: a handshake costs a few elliptic-curve operations.
/// With more, the oldest of the source with most is cut off.
pub(super) const HANDSHAKES_MAX: usize = 512;

/// The same of one address, or of the upper half of one IPv6 address. Those of a whole office come
/// from one address, but not at the same moment.
pub(super) const HANDSHAKES_PER_ADDRESS_MAX: usize = 16;

/// The same of this machine.
pub(super) const HANDSHAKES_PER_MACHINE_MAX: usize = 384;

/// Time for a handshake while half of these places are taken. On a LAN it takes milliseconds.
pub(super) const HANDSHAKE_TIME_WHEN_FULL: Duration = Duration::from_secs(2);

/// Incoming connections of clients, and of nodes that are not known for [`KNOWN_AFTER`], some
/// 80 KiB each. With more, one that was of the least use is closed.
pub(super) const STRANGERS_MAX: usize = 1_024;

/// The same of one address, or of the upper half of one IPv6 address.
pub(super) const STRANGERS_PER_ADDRESS_MAX: usize = 64;

/// The same of this machine, whose programs all connect to its own node.
pub(super) const STRANGERS_PER_MACHINE_MAX: usize = 1_000;

/// Time for which a node must have been one before it gets a place that strangers cannot take.
pub(super) const KNOWN_AFTER: Duration = Duration::from_secs(30);

/// Places of known nodes for one address, and for this machine.
pub(super) const KNOWN_PER_ADDRESS_MAX: usize = 64;
pub(super) const KNOWN_PER_MACHINE_MAX: usize = 512;

// --- nodes that join -------------------------------------------------------------------------

/// Nodes that may join at once, and then in each half second. A node that joins may change which
/// nodes hold which topics. Those that this node has dialled have the same number for themselves.
pub(super) const JOINS_MAX: usize = 256;
pub(super) const JOINS_PER_BEAT: usize = 8;

/// The same of one address, or of the upper half of one IPv6 address.
pub(super) const JOINS_PER_ADDRESS_MAX: usize = 32;
pub(super) const JOINS_PER_ADDRESS_PER_BEAT: usize = 1;

/// The same of this machine.
pub(super) const JOINS_PER_MACHINE_MAX: usize = 128;
pub(super) const JOINS_PER_MACHINE_PER_BEAT: usize = 4;

/// Nodes that wait until they may join, some 2 kB each at most: as many as strangers connect. One
/// that is not waited for any more says again within minutes that it is a node.
pub(super) const JOINS_WAITING_MAX: usize = STRANGERS_MAX;

/// Requests of one peer that wait until it has answered as a node: more than a node sends before.
pub(super) const UNPROVEN_PER_PEER_MAX: usize = 8;

/// The same of all peers, some 16 KiB each at most.
pub(super) const UNPROVEN_MAX: usize = 1_024;

/// Time for that answer. Then such requests are a client's.
pub(super) const UNPROVEN_TIME_MAX: Duration = ASK_TIMEOUT;

// --- requests under way ----------------------------------------------------------------------

/// Requests of nodes that this node works on at the same time. With those of clients these are
/// [`QUESTIONS_MAX`]. Beyond it each peer may still have its part.
pub(super) const NODE_QUESTIONS_MAX: usize = 1_536;

/// The same of clients. A thousand readers wait with one request each.
pub(super) const CLIENT_QUESTIONS_MAX: usize = QUESTIONS_MAX - NODE_QUESTIONS_MAX;

/// Requests of clients that wait until names change, or copies are there. The engine has places for
/// four times as many.
pub(super) const WAITING_QUESTIONS_MAX: usize = 250;

/// Requests of clients for which this node asks others, each of them. It answers them all within
/// tens of milliseconds, so that a newcomer waits no longer.
pub(super) const SURVEYING_QUESTIONS_MAX: usize = 256;

/// Requests of one peer in each of these: what the library sends on both streams.
pub(super) const QUESTIONS_PER_PEER_MAX: usize = 2 * ASKS_PER_PEER_MAX;

/// Requests that each peer may have under way, however many others have. A newcomer needs one.
pub(super) const QUESTIONS_ALWAYS: usize = 4;

/// Requests of this node at one other node that may be for somebody who asked this one. The other
/// places are for what keeps records safe.
pub(super) const ASKS_FOR_OTHERS_MAX: usize = ASKS_PER_PEER_MAX * 3 / 4;

/// The same that wait for their turn: some hundred milliseconds of work.
pub(super) const ASKS_FOR_OTHERS_WAITING_MAX: usize = 1_024;

/// Requests that keep records safe and wait for their turn at one node. The engine limits their
/// bytes. This limits how long a node that is too slow is relied on.
pub(super) const ASKS_WAITING_MAX: usize = 1_024;

/// What a peer may spend on requests that cost the node more than they cost the asker: at most, and
/// in a second.
pub(super) const ALLOWANCE_MAX: i64 = 1_000;
pub(super) const ALLOWANCE_PER_SECOND: i64 = 200;

/// What a name costs that no node knows: each node was asked for it.
pub(super) const UNKNOWN_TOPIC_COST: i64 = 50;

/// What a list of all topics costs: each node is asked for its numbers of records.
pub(super) const TOPICS_COST: i64 = 20;

/// What the end of a topic costs, or a list of its subscriptions: all replicas are asked.
pub(super) const SURVEY_COST: i64 = 5;

/// What it costs to look up where a subscription stands: the same, but a program may open many.
pub(super) const POSITION_COST: i64 = 2;

/// What a comparison costs that a node asks for, and the numbers of records of all topics: this
/// node looks at each of its topics. An honest node compares ten times in a second at most.
pub(super) const COMPARE_COST: i64 = 10;
pub(super) const COUNTS_COST: i64 = 5;

/// What a step of `verify` costs: all replicas read from their disks.
pub(super) const VERIFY_COST: i64 = 50;

/// What a question for proofs costs. The engine limits the bytes that are read for it. A node hands
/// over at most 128 topics in a second.
pub(super) const PROVE_COST: i64 = 1;

/// What each signature costs of the statements that a peer tells of: some 50 µs to check. So a peer
/// takes 1 % of a core at most.
pub(super) const SIGNATURE_COST: i64 = 1;

// --- what an asker is told -------------------------------------------------------------------

/// After this time who is over a share of what is soon free again may ask again, in milliseconds.
pub(super) const RETRY_SOON_MS: u32 = 100;

/// Refusals of what asks too much that are given at a time, and the time between: 3,200 in half a
/// second. With more, who asks too much waits longer.
pub(super) const REFUSALS_AT_A_TIME: usize = 32;
pub(super) const REFUSALS_INTERVAL: Duration = Duration::from_millis(5);

// --- gossip ----------------------------------------------------------------------------------

/// Topics that all peers together follow, counted for each peer: some 400 bytes each, here and in
/// libp2p. With more, the peer that follows most is kept away.
pub(super) const FOLLOWED_MAX: usize = 250_000;

/// Topics that a node follows beyond which it is not heard until it is known ([`KNOWN_AFTER`]). A
/// key costs nothing, and each topic costs the loop of the network some microseconds.
pub(super) const TOPICS_FOLLOWED_BY_NEW_MAX: usize = 1_000;

/// Topics that one node follows. A peer that follows more is kept away.
pub(super) const TOPICS_FOLLOWED_MAX: usize = 10_000;

// --- the table, and what is found nearby -----------------------------------------------------

/// Messages of the table that one connection may bring at once, and then in a second. A node with
/// thousands of topics announces them all, which takes two messages each.
pub(super) const TABLE_MESSAGES_MAX: u32 = 1_000;
pub(super) const TABLE_MESSAGES_PER_SECOND: u32 = 200;

/// Announcements of topics that this node keeps for others, some 300 bytes each. They are hints.
pub(super) const TOPICS_ANNOUNCED_MAX: usize = 50_000;

/// Those of one node.
pub(super) const TOPICS_ANNOUNCED_PER_PEER_MAX: usize = 5_000;

/// Addresses that mDNS may have heard.
pub(super) const LAN_FOUND_MAX: usize = 1_024;

// --- conduct ---------------------------------------------------------------------------------

/// Points of misdeeds at which a peer is kept away: five whole misdeeds. One point passes in a
/// second.
pub(super) const POINTS_MAX: u64 = 100;

/// How long such a peer is kept away. A new key costs nothing, so longer would help little.
pub(super) const KEPT_AWAY_FOR: Duration = Duration::from_mins(10);

/// Peers whose points are remembered, some 100 bytes each.
pub(super) const MARKED_MAX: usize = 4_096;

/// Peers that are kept away at a time, some 100 bytes each.
pub(super) const SHUNNED_MAX: usize = 1_024;

/// Time between two warnings of one kind. What comes between is counted.
pub(super) const WARNING_INTERVAL: Duration = Duration::from_secs(1);

const _: () = {
    assert!(WAITING_QUESTIONS_MAX * 4 <= NAMES_WAITING_MAX && NAMES_WAITING_MAX <= AWAITS_MAX);
    assert!(FRAMES_BYTES_PER_PEER_MAX <= FRAMES_BYTES_MAX);
    assert!(ANSWERS_BYTES_PER_PEER_MAX >= MESSAGE_BYTES_MAX + 12, "any answer fits");
    assert!(ANSWERS_BYTES_PER_PEER_MAX < ANSWERS_BYTES_MAX);
    assert!(
        ANSWERS_BYTES_BEFORE_NEXT_MAX + FETCHES_PER_STREAM_MAX * PAGE_BYTES_MAX
            < ANSWERS_BYTES_PER_PEER_MAX,
        "a node that reads is never refused a page"
    );
};
