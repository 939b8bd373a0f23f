//! How large the messages are: real ones are encoded, and their length is taken.

use std::collections::BTreeMap;

use antiphon::{
    limits::PUBLISH_TIMEOUT_DEFAULT,
    model::{
        Batch, Blob, Descriptor, Draft, Entry, Frontier, Hash, Incarnation, LogId, NodeId, NodeKey,
        Previous, ProducerId, Record, Run, SignedDescriptor, Span, Stamp, WallClock, encode_record,
    },
    wire::{
        Acks, ClientRequest, Compared, Held, MemberState, NodeRequest, Outcome, PartWanted, Peer,
        Publish, Published, Replicate, Request, Response, StatementsWanted, TopicDigest,
    },
};

use crate::{
    settings::{EXCHANGE_BYTES, REFUSE_ABOVE_BYTES},
    space::{name_of, topic},
    table::{Table, number},
};

/// A day in 2026, for stamps to be as long as they are in practice.
const WALL: WallClock = WallClock(1_790_000_000_000);

/// The key of the writer in all examples.
pub(crate) fn key() -> NodeKey {
    NodeKey::from_secret(&[7; 32])
}

/// Bytes of an encoded message.
pub(crate) fn bytes_of(message: &[u8]) -> u64 {
    message.len() as u64
}

/// The records of one publish, as a client encodes them: noise, which compression makes no smaller.
fn records(count: u32, payload_bytes: usize) -> Vec<u8> {
    let mut noise = fastrand::Rng::with_seed(1);
    let mut bytes = Vec::new();
    for _ in 0..count {
        let payload: Vec<u8> = (0..payload_bytes).map(|_| noise.u8(..)).collect();
        let record = Record::new(WALL, payload);
        encode_record(&record, &mut bytes).expect("a record below the limits");
    }
    bytes
}

/// A batch in the middle of a log.
pub(crate) fn batch(count: u32, payload_bytes: usize) -> Batch {
    let key = key();
    let incarnation = Incarnation(u64::MAX / 3);
    let draft = Draft {
        topic: topic(1),
        incarnation,
        previous: Some(Previous { incarnation, next: 1_000_000, hash: Hash([3; 32]) }),
        stamp: Stamp::at(WALL),
        runs: vec![Run { producer: ProducerId([4; 16]), first: 1_000_000, count }],
    };
    draft.seal(&records(count, payload_bytes).into(), &key)
}

/// The terms of a topic.
pub(crate) fn descriptor(number: usize) -> SignedDescriptor {
    let key = key();
    let terms = Descriptor::new(name_of(number), key.node(), Stamp::at(WALL));
    terms.sign(&key).expect("terms within the limits")
}

/// A node as others are told of it, with two addresses.
fn peer(number: u64) -> Peer {
    let mut bytes = [5; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    let addresses =
        ["/ip4/192.168.100.200/tcp/46123", "/ip4/203.0.113.200/tcp/46123"].map(str::to_owned);
    Peer {
        round_trip_us: Some(350),
        clock_offset_ms: Some(3),
        ..Peer::new(NodeId::from_bytes(bytes), MemberState::Alive, addresses.into())
    }
}

/// What is held of a topic with so many logs.
fn held(logs: u64) -> Response {
    let entry = |number: u64| {
        let log = LogId { writer: peer(number).node, incarnation: Incarnation(u64::MAX - number) };
        let span = Span { first: 0, next: 1_000_000, head: Hash([3; 32]) };
        (log, Entry { spans: vec![span], ..Entry::default() })
    };
    let frontier = Frontier((0..logs).map(entry).collect::<BTreeMap<_, _>>());
    Response::Held(Held {
        frontier,
        position: None,
        members: u64::MAX / 3,
        forks: None,
        keeps: true,
        heads: Vec::new(),
        early: Vec::new(),
    })
}

/// The sizes that the other models need, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// A comparison of two nodes that are in step: question, answer, and what the exchange adds.
    pub(crate) compare: u64,
    /// One node in the answer to who is known.
    pub(crate) peer: u64,
    /// One log in a frontier.
    pub(crate) log: u64,
    /// Asking for the frontier of a topic with ten logs, with what the exchange adds.
    pub(crate) frontier: u64,
    /// One topic in the digests by topic.
    pub(crate) digest: u64,
    /// The terms of a topic.
    pub(crate) descriptor: u64,
    /// A topic among those of a part of the catalogue that a node says it knows.
    pub(crate) known: u64,
}

impl Sizes {
    /// Encodes one of each.
    pub(crate) fn measured() -> Self {
        let of = |response: &Response| bytes_of(&response.encode());
        let peers = |count| Response::Peers((0..count).map(peer).collect());
        let digests = |count| {
            let one = |number| TopicDigest { topic: topic(number), digest: [9; 32] };
            let differs = Compared::Differs((0..count).map(one).collect(), Hash([9; 32]));
            Response::Compared(differs, Some(WALL))
        };
        let compare = bytes_of(&Request::Node(NodeRequest::Compare(None, [9; 32])).encode())
            + of(&Response::Compared(Compared::InStep, Some(WALL)))
            + EXCHANGE_BYTES;
        let frontier =
            bytes_of(&Request::Node(NodeRequest::Frontier(topic(1), None, None)).encode())
                + of(&held(10))
                + EXCHANGE_BYTES;
        let terms = descriptor(1);
        let part = |count| {
            let known = (0..count).map(|number| (topic(number), Hash([9; 32]))).collect();
            let wanted = PartWanted { part: 7, after: None, to: None, known };
            let wanted = StatementsWanted::Part(wanted);
            bytes_of(&Request::Node(NodeRequest::Statements(wanted)).encode())
        };
        Self {
            compare,
            peer: (of(&peers(1_100)) - of(&peers(100))) / 1_000,
            log: (of(&held(1_100)) - of(&held(100))) / 1_000,
            frontier,
            digest: (of(&digests(1_100)) - of(&digests(100))) / 1_000,
            descriptor: terms.bytes().len() as u64,
            known: (part(1_100) - part(100)) / 1_000,
        }
    }

    /// The sizes as a table.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(
            "sizes",
            "Bytes of encoded messages; an exchange counts both messages and 212 bytes around them.",
            &["what", "bytes"],
        );
        for (what, bytes) in [
            ("comparison in step, exchange", self.compare),
            ("digest of one topic", self.digest),
            ("frontier, each log", self.log),
            ("frontier of 10 logs, exchange", self.frontier),
            ("who is known, each node", self.peer),
            ("terms of a topic", self.descriptor),
            ("a known topic in a part of the catalogue", self.known),
        ] {
            table.row(vec![what.into(), bytes.into()]);
        }
        table
    }
}

/// What one publish costs until it is acknowledged, and on its way to followers. `copies_each`
/// says how many copies each follower gets of a small batch and of a large one.
pub(crate) fn publish_table(copies_each: [f64; 2]) -> Table {
    let mut table = Table::new(
        "publish",
        "One batch with R = 3, its writer no home of the topic: 8 messages (client, 3 replicas, and \
         their answers), or 6\nwhere the writer is one. Bytes over all links. Live: what 1,000 \
         followers add.",
        &[
            "records",
            "payload",
            "batch bytes",
            "client KiB",
            "replicas KiB",
            "bytes/record",
            "times payload",
            "live KiB",
        ],
    );
    for (count, payload) in [(1, 128), (64, 128), (1_900, 128), (1, 64 * 1024)] {
        let batch = batch(count, payload);
        let publish = Publish {
            topic: name_of(1),
            producer: ProducerId([4; 16]),
            first: 1_000_000,
            records: Blob(records(count, payload).into()),
            acks: Acks::Quorum,
            timeout_ms: u32::try_from(PUBLISH_TIMEOUT_DEFAULT.as_millis()).unwrap_or(u32::MAX),
            retried: false,
        };
        let published = Published {
            acknowledged: true,
            copies: 2,
            stand_ins: 0,
            replicas: 3,
            wanted: 2,
            ..Published::default()
        };
        let client = bytes_of(&Request::Client(ClientRequest::Publish(publish)).encode())
            + bytes_of(&Response::Published(published).encode())
            + EXCHANGE_BYTES;
        let replicate = Replicate { batches: vec![batch.clone()], ..Replicate::default() };
        let replica = bytes_of(&Request::Node(NodeRequest::Replicate(replicate)).encode())
            + bytes_of(&Response::Replicated(vec![Outcome::Stored]).encode())
            + EXCHANGE_BYTES;
        let all = client + 3 * replica;
        let large = batch.bytes().len() > REFUSE_ABOVE_BYTES;
        let live = number(batch.bytes().len()) * 1_000.0 * copies_each[usize::from(large)];
        table.row(vec![
            u64::from(count).into(),
            payload.into(),
            batch.bytes().len().into(),
            (number(client) / 1024.0).into(),
            (number(3 * replica) / 1024.0).into(),
            (number(all) / f64::from(count)).into(),
            (number(all) / (f64::from(count) * number(payload))).into(),
            (live / 1024.0).into(),
        ]);
    }
    table
}
