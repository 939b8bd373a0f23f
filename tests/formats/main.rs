//! Frozen formats: what was once written must be readable for ever, and what is written today
//! must be what was written yesterday.
//!
//! Each file beside this one is one value in hexadecimal. A mismatch here means that the wire
//! or the disk format has changed: that needs a new version, not a new file.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod budgets;
mod compacted;
mod fuzzed;
mod headers;
mod hello;
mod newer;
mod possession;
mod presence;
mod retried;
mod roster;
mod statements;

use std::{num::NonZeroU64, path::PathBuf};

use antiphon::{
    engine::{Log, Pending, Step},
    limits::READ_MANY_TOPICS_MAX,
    model::{
        Batch, Blob, Compression, Cursor, Deliveries, Descriptor, Draft, ForkProof, Hash,
        Incarnation, LimitChange, MemberId, NodeKey, Position, Previous, ProducerId, Progress,
        Record, Retention, RetentionChange, Run, Runs, SignedDescriptor, Stamp, Subscription,
        TopicId, WallClock, Writers, encode_record, encode_to_bytes,
    },
    wire,
    wire::{
        Acks, Alter, Assignment, Await, Checked, CheckedBatch, ClientRequest, Create, Import,
        LogRange, Membership, Names, NamesWanted, NodeRequest, OutboxPage, Outcome, Page,
        PendingTopic, Publish, Published, Read, ReadMany, Refusal, Rejection, Remaining, Replicate,
        Request, Response, Right, Role, Settle, Settlement, Take, Taken, TopicPage, TopicRead,
        TopicSummary, Verified, VerifiedReplica,
        archive::{Encoder, Opening, Passed, Section},
    },
};
use bytes::Bytes;

fn key() -> NodeKey {
    NodeKey::from_secret(&[1; 32])
}

fn topic() -> TopicId {
    TopicId::from_bytes([2; 32])
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut specification = data_encoding::Specification::new();
    specification.symbols.push_str("0123456789abcdef");
    specification.wrap.width = 96;
    specification.wrap.separator.push('\n');
    specification.encoding().unwrap().encode(bytes)
}

#[track_caller]
fn frozen(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name);
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let actual = hexadecimal(bytes);
    assert_eq!(actual, expected, "{} holds another value; now it is\n{actual}", path.display());
}

/// The bytes of messages, each of which is understood as what it was, also with fields that are not
/// known.
#[track_caller]
fn round_trip(
    requests: impl IntoIterator<Item = Request>,
    responses: impl IntoIterator<Item = Response>,
) -> Vec<u8> {
    let mut all = Vec::new();
    for request in requests {
        let bytes = request.encode();
        for newer in [newer::with_unknown_fields(&bytes), newer::with_one_more_field(&bytes)] {
            assert_eq!(Request::decode(&newer.into()).as_ref(), Ok(&request));
        }
        assert_eq!(Request::decode(&bytes), Ok(request));
        all.extend_from_slice(&bytes);
    }
    for response in responses {
        let bytes = response.encode();
        for newer in [newer::with_unknown_fields(&bytes), newer::with_one_more_field(&bytes)] {
            assert_eq!(Response::decode(&newer.into()).as_ref(), Ok(&response));
        }
        assert_eq!(Response::decode(&bytes), Ok(response));
        all.extend_from_slice(&bytes);
    }
    all
}

fn records() -> Bytes {
    let mut body = Vec::new();
    let plain = Record::new(WallClock(1_517_363_399_650), "a");
    let full = Record {
        time: Some(WallClock(1_517_363_399_651)),
        payload: Bytes::from_static(&[0, 10, 255]),
        key: Some("uw".into()),
        headers: vec![("kind".into(), "quake".into()), ("ü".into(), Bytes::new())],
        id: None,
    };
    encode_record(&plain, &mut body).unwrap();
    encode_record(&full, &mut body).unwrap();
    body.into()
}

fn batch() -> Batch {
    sealed(2, &records())
}

fn sealed(count: u32, records: &Bytes) -> Batch {
    let draft = Draft {
        topic: topic(),
        incarnation: Incarnation(0x0102_0304_0506_0708),
        previous: Some(Previous {
            incarnation: Incarnation(0x0102_0304_0506_0708),
            next: 40,
            hash: Hash([3; 32]),
        }),
        stamp: Stamp::at(WallClock(1_517_363_399_700)),
        runs: vec![Run { producer: ProducerId([4; 16]), first: 7, count }],
    };
    draft.seal(records, &key())
}

fn cursor() -> Cursor {
    let mut cursor = Cursor::start(topic());
    let position = Position { next: 42, head: Some(Hash([5; 32])) };
    cursor.advance_to(batch().header().log(), position);
    cursor
}

#[test]
fn body() {
    frozen("body.hex", &records());
}

#[test]
fn batches() {
    frozen("batch.hex", batch().bytes());
    frozen("announcement.hex", &batch().announcement());
    assert!(Batch::verify(batch().bytes().clone()).is_ok());
}

fn terms() -> Descriptor {
    let created = Stamp::at(WallClock(1_517_363_399_700));
    let mut terms = Descriptor::new("earthquakes".parse().unwrap(), key().node(), created);
    terms.retention = Retention { age_ms: Some(604_800_000), ..Retention::default() };
    terms.writers = Writers::Listed(vec![key().node()]);
    terms.encryption_key = Some(Blob(Bytes::from_static(b"key-1")));
    terms.revision = 1;
    terms
}

#[test]
fn descriptor() {
    let signed = terms().sign(&key()).unwrap();
    frozen("descriptor.hex", signed.bytes());
    assert!(SignedDescriptor::verify(signed.bytes().clone()).is_ok());
}

/// What a compressor makes of records may change; that it is understood may not.
#[test]
fn compressed_batches() {
    let payloads: Vec<_> = (0..40).map(|number| format!("temperature {number} degrees")).collect();
    let mut records = Vec::new();
    for payload in &payloads {
        encode_record(&Record::new(WallClock(1), payload.clone()), &mut records).unwrap();
    }
    let today = sealed(40, &records.into());
    assert_eq!(today.header().compression, Compression::Lz4);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/formats/batch_lz4.hex");
    let text = std::fs::read_to_string(&path).unwrap_or_default().replace('\n', "");
    let frozen = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let batch = Batch::verify(frozen.into());
    let batch = batch.unwrap_or_else(|error| {
        panic!("{error} in {}; today it is\n{}", path.display(), hexadecimal(today.bytes()))
    });
    assert!(batch.records().map(|record| record.unwrap().payload).eq(payloads));
}

#[test]
fn log_on_disk() {
    let mut log = Log::default();
    log.add(&batch()).unwrap();
    frozen("log.hex", &encode_to_bytes(&log));
}

#[test]
fn cursors() {
    frozen("cursor.hex", &encode_to_bytes(&cursor()));
    frozen("cursor_text.hex", cursor().to_string().as_bytes());
    let subscription = Subscription::new(3, Some(cursor()));
    frozen("subscription.hex", &encode_to_bytes(&subscription));
}

#[test]
fn requests() {
    let name = || "earthquakes".parse().unwrap();
    let log = batch().header().log();
    let requests = [
        Request::Client(ClientRequest::Create(Create {
            replicas: Some(3),
            if_not_exists: true,
            ..Create::new(name())
        })),
        Request::Client(ClientRequest::Publish(Publish {
            topic: name(),
            producer: ProducerId([4; 16]),
            first: 7,
            records: Blob(records()),
            acks: Acks::All,
            timeout_ms: 10_000,
            retried: false,
        })),
        Request::Client(ClientRequest::Survey(name())),
        Request::Client(ClientRequest::Read(Read {
            topic: name(),
            after: cursor(),
            until: None,
            bytes_max: 1 << 20,
            wait_ms: 500,
        })),
        Request::Client(ClientRequest::Position(name(), "alice".parse().unwrap())),
        Request::Client(ClientRequest::Topics(Some(name()))),
        Request::Client(ClientRequest::Peers),
        Request::Client(ClientRequest::Describe(name())),
        Request::Node(NodeRequest::Replicate(Replicate {
            batches: vec![batch()],
            ..Replicate::default()
        })),
        Request::Node(NodeRequest::Compare(None, [6; 32])),
        Request::Node(NodeRequest::Frontier(topic(), Some("alice".parse().unwrap()), None)),
        Request::Node(NodeRequest::Fetch(
            topic(),
            vec![LogRange { log, from: 40, to: 42 }],
            1 << 20,
        )),
        Request::Node(NodeRequest::Counts),
        Request::Node(NodeRequest::Positions(topic(), None)),
    ];
    let all = round_trip(requests, []);
    frozen("requests.hex", &all);
}

#[test]
fn terms_of_topics() {
    let name = || "earthquakes".parse().unwrap();
    let retention =
        Retention { age_ms: Some(604_800_000), records: Some(1_000), ..Retention::default() };
    let range = LogRange { log: batch().header().log(), from: 0, to: 40 };
    let requests = [
        Request::Client(ClientRequest::Create(Create { retention, ..Create::new(name()) })),
        Request::Client(ClientRequest::Alter(Alter {
            name: name(),
            replicas: Some(5),
            min_copies: None,
            retention: RetentionChange {
                age_ms: NonZeroU64::new(604_800_000).into(),
                bytes: LimitChange::Remove,
                records: NonZeroU64::new(1_000).into(),
                tombstones_ms: None,
            },
            floor_follows: false,
        })),
        Request::Client(ClientRequest::Delete(name())),
    ];
    let summary = TopicSummary {
        name: name(),
        replicas: 5,
        min_copies: 2,
        owners: vec![key().node()],
        records: 42,
        nodes_alive: 5,
        retention,
        floor_follows: false,
    };
    let responses = [
        Response::Altered(summary),
        Response::Deleted,
        Response::Refused(Refusal::MayNotAlter("earthquakes".into())),
        Response::Refused(Refusal::ForeignCursor),
        Response::Refused(Refusal::Deleted(Blob(terms().sign(&key()).unwrap().bytes().clone()))),
        Response::Page(Page { batches: vec![batch()], trimmed: vec![range], ..Page::default() }),
    ];
    let mut all = round_trip(requests, responses);
    let step = Step {
        received: WallClock(1_517_363_399_650),
        bytes: 1_000,
        records: 10,
        ends: [(range.log, Position { next: 40, head: Some(Hash([5; 32])) })].into(),
    };
    let mut deleted = terms();
    deleted.revision = 3;
    deleted.generation = 1;
    deleted.deleted = true;
    deleted.origin = Some(topic());
    all.extend_from_slice(&encode_to_bytes(&step));
    all.extend_from_slice(deleted.sign(&key()).unwrap().bytes());
    frozen("terms.hex", &all);
}

#[test]
fn groups() {
    let log = batch().header().log();
    let range = |from, to| LogRange { log, from, to };
    let membership = Membership {
        topic: "earthquakes".parse().unwrap(),
        group: "alarms".parse().unwrap(),
        member: MemberId([8; 16]),
        generation: 1,
        hops: 1,
    };
    let rejection = Rejection { range: range(42, 43), reason: "no disk".into(), delay_ms: 500 };
    let settlement = Settlement {
        acknowledged: vec![range(40, 41)],
        returned: vec![range(41, 42)],
        rejected: vec![rejection],
        extended: vec![range(43, 44)],
    };
    let requests = [
        Request::Client(ClientRequest::Take(Box::new(Take {
            membership: membership.clone(),
            turn: 3,
            holding: vec![range(44, 46)],
            settlement: Settlement::default(),
            records_max: 64,
            bytes_max: 1 << 20,
            wait_ms: 10_000,
            visibility_ms: 30_000,
            deliveries_max: 5,
        }))),
        Request::Client(ClientRequest::Settle(Box::new(Settle {
            membership,
            settlement,
            visibility_ms: 30_000,
        }))),
    ];
    let assignments = vec![
        Assignment { range: range(40, 42), deliveries: 1, bury: None },
        Assignment { range: range(42, 43), deliveries: 6, bury: Some("no disk".into()) },
    ];
    let responses = [
        Response::Taken(Taken { generation: 1, assignments }),
        Response::Settled(2),
        Response::Refused(Refusal::NotAGroup("alice".into())),
        Response::Refused(Refusal::Group("alarms".into())),
    ];
    let mut all = round_trip(requests, responses);
    let mut done = Runs::default();
    done.insert(44, 46);
    let group = Progress {
        done: [(log, done)].into(),
        given: [(log, 47)].into(),
        deliveries: [(log, Deliveries([(43, 2)].into()))].into(),
    };
    let subscription =
        Subscription { generation: 1, cursor: Some(cursor()), group: Some(Box::new(group)) };
    all.extend_from_slice(&encode_to_bytes(&subscription));
    frozen("group.hex", &all);
}

#[test]
fn rights() {
    let repair = ClientRequest::Verify("earthquakes".parse().unwrap(), cursor(), true);
    let refused =
        |text: &str, right| Response::Refused(Refusal::NotAllowed { text: text.to_owned(), right });
    let responses = [
        refused("only the operator of the node may delete topic `t`", Right::Manage),
        refused("only its operator may make a node leave", Right::Operate),
    ];
    frozen("rights.hex", &round_trip([Request::Client(repair)], responses));
}

#[test]
fn leaving_and_verifying() {
    let (node, log) = (key().node(), batch().header().log());
    let range = LogRange { log, from: 40, to: 42 };
    let requests = [
        Request::Client(ClientRequest::Forget(node)),
        Request::Client(ClientRequest::Leave(node)),
        Request::Client(ClientRequest::Verify("earthquakes".parse().unwrap(), cursor(), false)),
        Request::Node(NodeRequest::Leaving(true)),
        Request::Node(NodeRequest::Check(topic(), range, 1 << 20)),
    ];
    let held = CheckedBatch { first: 40, next: 42, hash: Hash([5; 32]) };
    let replica = VerifiedReplica {
        node,
        role: Role::StandIn,
        answered: true,
        records: 41,
        lacking: 1,
        damaged: 2,
        differing: 3,
    };
    let responses = [
        Response::Refused(Refusal::Full(None)),
        Response::Refused(Refusal::Alone),
        Response::Forgotten(true),
        Response::Leaving(Remaining { topics: 2, records: 300 }),
        Response::Noted,
        Response::Checked(Checked {
            batches: vec![held],
            damaged: vec![range],
            to: 42,
            ..Checked::default()
        }),
        Response::Verified(Verified {
            next: cursor(),
            finished: true,
            records: 42,
            lost: 1,
            replicas: vec![replica],
        }),
    ];
    let all = round_trip(requests, responses);
    frozen("members.hex", &all);
}

#[test]
fn outbox() {
    let name = || "earthquakes".parse().unwrap();
    let place = LogRange { log: batch().header().log(), from: 40, to: 42 };
    let requests = [
        Request::Client(ClientRequest::Outbox(Some(name()))),
        Request::Client(ClientRequest::Await(Await {
            topic: name(),
            place,
            acks: Acks::Quorum,
            wait_ms: 2_000,
        })),
    ];
    let published = Published {
        acknowledged: false,
        copies: 1,
        stand_ins: 0,
        replicas: 3,
        wanted: 2,
        place: Some(place),
        ..Published::default()
    };
    let pending = PendingTopic {
        topic: name(),
        records: 1_707,
        since: WallClock(1_517_363_399_650),
        copies: 1,
        wanted: 2,
        away: vec![key().node()],
    };
    let responses = [
        Response::Published(published),
        Response::Outbox(OutboxPage { node: key().node(), topics: vec![pending], more: false }),
        Response::Awaited(Published { acknowledged: true, place: None, ..published }),
    ];
    let mut all = round_trip(requests, responses);
    let pending = Pending { first: 40, since: WallClock(1_517_363_399_650) };
    all.extend_from_slice(&encode_to_bytes(&pending));
    frozen("outbox.hex", &all);
}

#[test]
fn responses() {
    let nearest = Some("earthquakes".to_owned());
    let responses = [
        Response::Refused(Refusal::UnknownTopic { name: "earthquake".into(), nearest }),
        Response::Refused(Refusal::Busy),
        Response::Page(Page { batches: vec![batch()], finished: true, ..Page::default() }),
        Response::Position(None),
        Response::Committed(2, None),
        Response::Replicated(vec![Outcome::Stored, Outcome::Refused(Refusal::Busy)]),
        Response::Kept(None),
    ];
    let all = round_trip([], responses);
    frozen("responses.hex", &all);
}

#[test]
fn many_topics() {
    let name = || "earthquakes".parse().unwrap();
    let requests = [
        Request::Client(ClientRequest::ReadMany(ReadMany {
            topics: vec![
                TopicRead { topic: name(), after: Some(cursor()) },
                TopicRead { topic: "sensors.7.temp".parse().unwrap(), after: None },
            ],
            bytes_max: 1 << 20,
            wait_ms: 500,
        })),
        Request::Client(ClientRequest::Names(NamesWanted {
            pattern: "sensors.*.>".parse().unwrap(),
            known: [6; 32],
            after: Some(name()),
            wait_ms: 500,
        })),
    ];
    let page = Page { batches: vec![batch()], finished: true, ..Page::default() };
    let responses = [
        Response::Pages(vec![TopicPage { which: 1, page }]),
        Response::Names(Names { digest: [6; 32], page: vec![name()], more: true }),
    ];
    let all = round_trip(requests, responses);
    frozen("many.hex", &all);
}

#[test]
fn one_request_reads_so_many_topics_and_no_more() {
    let request = |count| {
        let topics = (0..count).map(|number| TopicRead {
            topic: format!("sensors.{number}").parse().unwrap(),
            after: None,
        });
        let topics = topics.collect();
        Request::Client(ClientRequest::ReadMany(ReadMany {
            topics,
            bytes_max: 1 << 20,
            wait_ms: 0,
        }))
    };
    assert!(Request::decode(&request(READ_MANY_TOPICS_MAX).encode()).is_ok());
    assert!(Request::decode(&request(READ_MANY_TOPICS_MAX + 1).encode()).is_err());
}

/// A twin of the batch: another one for its place.
fn twin() -> Batch {
    let draft = Draft { stamp: batch().header().stamp.next(), ..Draft::of(batch().header()) };
    draft.seal(&records(), &key())
}

#[test]
fn forks() {
    let proof = ForkProof::of(&batch(), &twin()).unwrap();
    assert_eq!(ForkProof::verify(proof.bytes()).as_ref(), Ok(&proof));
    let filed = batch().filed(Incarnation::of_branch(batch().hash()));
    let replicate = Request::Node(NodeRequest::Replicate(Replicate {
        batches: vec![filed],
        forks: wire::Proofs::of(std::iter::once(&proof)),
        ..Replicate::default()
    }));
    let back = Request::decode(&replicate.encode()).unwrap();
    let Request::Node(NodeRequest::Replicate(told)) = &back else { panic!("{back:?}") };
    assert!(told.batches[0].is_root());
    assert_eq!(back, replicate);
    let held = Response::Held(wire::Held {
        forks: wire::Proofs::of(std::iter::once(&proof)),
        ..wire::Held::default()
    });
    let refused = Response::Refused(Refusal::Forked(Some(Blob(proof.bytes().clone()))));
    let mut all = proof.bytes().to_vec();
    all.extend_from_slice(&replicate.encode());
    for response in [held, refused] {
        let bytes = response.encode();
        assert_eq!(Response::decode(&bytes), Ok(response));
        all.extend_from_slice(&bytes);
    }
    frozen("forks.hex", &all);
}

#[test]
fn imports() {
    let range = LogRange { log: batch().log(), from: 0, to: 40 };
    let replicate = Replicate { batches: vec![batch()], ..Replicate::default() };
    let name = || "earthquakes".parse().unwrap();
    let requests = [
        Request::Client(ClientRequest::Create(Create {
            origin: Some(topic()),
            ..Create::new(name())
        })),
        Request::Client(ClientRequest::Import(Import {
            topic: name(),
            replicate,
            trimmed: vec![range],
        })),
    ];
    let response = Response::Replicated(vec![Outcome::Present, Outcome::Trimmed]);
    let mut all = round_trip(requests, []);
    all.extend_from_slice(&response.encode());
    assert_eq!(Response::decode(&response.encode()), Ok(response));
    frozen("imports.hex", &all);
}

#[test]
fn archives() {
    let mut terms = terms();
    terms.origin = Some(topic());
    let opening = Opening::new("lab".parse().unwrap(), terms.sign(&key()).unwrap(), topic());
    let range = LogRange { log: batch().log(), from: 0, to: 40 };
    let proof = ForkProof::of(&batch(), &twin()).unwrap();
    let branch = |batch: Batch| batch.clone().filed(Incarnation::of_branch(batch.hash()));
    let sections = [
        Section::Opening(Box::new(opening)),
        Section::Passed(Passed { range, trimmed: true }),
        Section::Fork(proof),
        Section::Batch(branch(batch())),
        Section::Batch(branch(twin())),
    ];
    let mut encoder = Encoder::default();
    let mut all = Vec::new();
    for section in &sections {
        all.extend_from_slice(&encoder.encode(section).unwrap());
    }
    all.extend_from_slice(&encoder.finish().unwrap());
    frozen("archive.hex", &all);
}

#[test]
fn no_bytes_make_decoding_panic() {
    use proptest::prelude::*;
    let good = Request::Node(NodeRequest::Replicate(Replicate {
        batches: vec![batch()],
        ..Replicate::default()
    }));
    let good = good.encode().to_vec();
    proptest!(|(at in 0..good.len(), value in any::<u8>(), cut in 0..good.len())| {
        let mut bytes = good.clone();
        bytes[at] = value;
        let _ = Request::decode(&bytes.clone().into());
        let _ = Response::decode(&bytes.clone().into());
        bytes.truncate(cut);
        prop_assert!(Request::decode(&bytes.into()).is_err());
    });
    proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..64))| {
        let _ = Request::decode(&bytes.clone().into());
        let _ = Response::decode(&bytes.clone().into());
        let _ = wire::Gossip::decode(bytes.into());
    });
}

#[test]
fn a_list_of_nothing_is_bounded() {
    // A replication request with a million empty descriptors: one byte each on the wire.
    let mut bytes = vec![0x82, 0x11, 0x81, 0xa2, 0x00, 0x9a, 0x00, 0x0f, 0x42, 0x40];
    bytes.extend(std::iter::repeat_n(0x40, 1_000_000));
    bytes.extend([0x01, 0x80]);
    assert!(Request::decode(&bytes.into()).is_err());
}

#[test]
fn a_claimed_length_reserves_nothing() {
    // An array that claims 2^60 batches, and ends.
    let claim = [0x82, 0x11, 0x81, 0xa2, 0x00, 0x80, 0x01, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0];
    assert!(Request::decode(&Bytes::copy_from_slice(&claim)).is_err());
}
