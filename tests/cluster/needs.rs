//! Topics that need what only newer programs have.

use std::time::Duration;

use antiphon::{
    model::{
        Batch, Blob, Cursor, Descriptor, Draft, Incarnation, NodeKey, ProducerId, Record,
        Retention, RetentionChange, Run, SignedDescriptor, Stamp, WallClock, Writers,
        encode_record, encode_to_bytes,
    },
    wire::{
        Acks, Alter, ClientRequest, Create, Held, NodeRequest, Outcome, Publish, Refusal,
        Replicate, Request, Response,
    },
};

use crate::script::World;

const NAME: &str = "ordered";

/// A node of a newer version.
fn newer() -> NodeKey {
    NodeKey::from_secret(&[9; 32])
}

/// Terms that a newer node has signed.
fn terms(revision: u64) -> SignedDescriptor {
    let created = Stamp::at(WallClock(5));
    let mut terms = Descriptor::new(NAME.parse().unwrap(), newer().node(), created);
    terms.min_copies = 1;
    terms.retention = Retention { records: Some(1), ..Retention::default() };
    terms.revision = revision;
    terms.needs = vec![7];
    terms.sign(&newer()).unwrap()
}

fn batch() -> Batch {
    let mut records = Vec::new();
    encode_record(&Record::new(WallClock(1), "a"), &mut records).unwrap();
    let draft = Draft {
        topic: World::topic(NAME),
        incarnation: Incarnation(5),
        previous: None,
        stamp: Stamp::at(WallClock(5)),
        runs: vec![Run { producer: ProducerId([4; 16]), first: 0, count: 1 }],
    };
    draft.seal(&records.into(), &newer())
}

/// The same terms, which say in a newer way who may write.
fn terms_with_newer_writers() -> SignedDescriptor {
    let mut terms = terms(0).descriptor().clone();
    terms.needs.clear();
    terms.writers = Writers::Unknown;
    let terms = encode_to_bytes(&terms);
    let signature = newer().sign(&[b"antiphon/descriptor/1\0", &terms[..]].concat());
    let mut bytes = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut bytes);
    encoder.array(2).unwrap().bytes(&terms).unwrap().bytes(&signature).unwrap();
    SignedDescriptor::verify(bytes.into()).unwrap()
}

fn replicate(revision: u64, batches: Vec<Batch>) -> Request {
    replicate_of(&terms(revision), batches)
}

fn replicate_of(terms: &SignedDescriptor, batches: Vec<Batch>) -> Request {
    let descriptors = vec![terms.clone()];
    Request::Node(NodeRequest::Replicate(Replicate {
        descriptors,
        batches,
        ..Replicate::default()
    }))
}

/// What clients may ask about the topic.
fn requests() -> Vec<ClientRequest> {
    let name = || NAME.parse().unwrap();
    let alice = || "alice".parse().unwrap();
    let publish = Publish {
        topic: name(),
        producer: ProducerId([1; 16]),
        first: 0,
        records: Blob(batch().records_bytes()),
        acks: Acks::One,
        timeout_ms: 1_000,
        retried: false,
    };
    let alter = Alter {
        name: name(),
        replicas: Some(1),
        min_copies: None,
        retention: RetentionChange::default(),
        floor_follows: false,
    };
    vec![
        ClientRequest::Publish(publish),
        ClientRequest::Survey(name()),
        ClientRequest::Position(name(), alice()),
        ClientRequest::Verify(name(), Cursor::start(World::topic(NAME)), false),
        ClientRequest::Alter(alter),
        ClientRequest::Delete(name()),
        ClientRequest::Create(Create { if_not_exists: true, ..Create::new(name()) }),
    ]
}

fn assert_not_served(world: &mut World, node: usize, lacking: &str) {
    for request in requests() {
        let answer = world.call(node, Request::Client(request));
        let Response::Refused(Refusal::Unsupported(Some(why))) = answer else {
            panic!("{answer:?}")
        };
        let expected = format!("topic `ordered` needs a newer version of Antiphon ({lacking})");
        assert_eq!(why, expected);
    }
}

fn held(world: &mut World, node: usize) -> Held {
    let request = NodeRequest::Frontier(World::topic(NAME), None, None);
    let answer = world.call(node, Request::Node(request));
    let Response::Held(held) = answer else { panic!("{answer:?}") };
    held
}

#[test]
fn terms_that_are_not_understood_are_spread_and_the_topic_is_not_served() {
    let mut world = World::new(3);
    world.join();
    assert_eq!(world.call(0, replicate(0, Vec::new())), Response::Replicated(Vec::new()));
    // The others learn of it when somebody asks them.
    for node in [1, 2, 0] {
        assert_not_served(&mut world, node, "feature 7");
        let describe = ClientRequest::Describe(NAME.parse().unwrap());
        let described = Response::Described(Some(Blob(terms(0).bytes().clone())));
        assert_eq!(world.call(node, Request::Client(describe)), described);
        let answer = world.call(node, replicate(0, vec![batch()]));
        let Response::Replicated(outcomes) = answer else { panic!("{answer:?}") };
        let refused =
            |outcome: &Outcome| matches!(outcome, Outcome::Refused(Refusal::Unsupported(Some(_))));
        assert!(outcomes.len() == 1 && outcomes.iter().all(refused), "{outcomes:?}");
    }
    world.run(Duration::from_secs(10));
    for node in 0..3 {
        assert_eq!(
            (held(&mut world, node).frontier.records(), held(&mut world, node).keeps),
            (0, false)
        );
    }
    // Other topics go on.
    world.create(0, "plain", 3);
}

#[test]
fn copies_of_a_topic_that_comes_to_need_more_stay_where_they_are() {
    let mut world = World::new(3);
    world.join();
    world.create(0, NAME, 3);
    for first in 0..20 {
        let publish = World::publish_request(NAME, 1, first, &[format!("line {first}")]);
        assert!(world.publish(0, publish).acknowledged);
        world.run(Duration::from_secs(1));
    }
    world.run(Duration::from_secs(10));
    let before: Vec<_> = (0..3).map(|node| held(&mut world, node).frontier).collect();
    assert!(before.iter().all(|frontier| frontier.records() == 20), "{before:?}");
    for node in 0..3 {
        assert_eq!(world.call(node, replicate(1, Vec::new())), Response::Replicated(Vec::new()));
    }
    world.run(Duration::from_mins(2));
    for (node, before) in before.iter().enumerate() {
        assert_not_served(&mut world, node, "feature 7");
        let held = held(&mut world, node);
        assert_eq!(held.frontier, *before, "its limits are not applied, and nothing is given away");
        assert!(!held.keeps, "it is no home replica");
    }
}

#[test]
fn nobody_changes_a_topic_through_a_node_that_does_not_know_who_may() {
    let mut world = World::new(3);
    world.join();
    let terms = terms_with_newer_writers();
    let answer = world.call(0, replicate_of(&terms, Vec::new()));
    assert_eq!(answer, Response::Replicated(Vec::new()));
    for node in [1, 2, 0] {
        assert_not_served(&mut world, node, "who may write");
        let describe = ClientRequest::Describe(NAME.parse().unwrap());
        let described = Response::Described(Some(Blob(terms.bytes().clone())));
        assert_eq!(world.call(node, Request::Client(describe)), described);
    }
}
