//! What nodes say of their coming and going, of who is away, and of floors that follow the network.

use antiphon::{
    limits::{ADDRESSES_MAX, PROGRAM_BYTES_MAX},
    model::{Retention, RetentionChange, SignedDescriptor, TopicName, encode_to_bytes},
    wire::{
        Alter, Away, ClientRequest, Contact, MemberState, Need, NodeRequest, Peer, Published,
        Refusal, Request, Response, TopicSummary,
    },
};

use super::{frozen, key, round_trip, terms};

fn peer() -> Peer {
    Peer {
        node: key().node(),
        state: MemberState::Alive,
        round_trip_us: None,
        addresses: vec!["/ip4/10.0.0.1/tcp/4001".into()],
        stopped: false,
        newcomer_ms: Some(15_000),
        wall: None,
        clock_offset_ms: None,
        program: None,
    }
}

#[test]
fn coming_and_going() {
    let name: TopicName = "earthquakes".parse().unwrap();
    let alter = Alter {
        name: name.clone(),
        replicas: None,
        min_copies: None,
        retention: RetentionChange::default(),
        floor_follows: true,
    };
    let gone = Peer { state: MemberState::Dead, stopped: true, newcomer_ms: None, ..peer() };
    let away = |need| Away {
        topic: name.to_string(),
        need,
        needed: 2,
        replicas: 3,
        nodes: vec![key().node(); 2],
    };
    let needs = [Need::Subscription, Need::Reset, Need::Deletion, Need::Group, Need::Position];
    let refused = needs.map(|need| Response::Refused(Refusal::Away(away(need))));
    let pending = Published { copies: 1, replicas: 3, wanted: 2, ..Published::default() };
    let summary = TopicSummary {
        name: name.clone(),
        replicas: 3,
        min_copies: 2,
        owners: vec![key().node()],
        records: 42,
        nodes_alive: 1,
        retention: Retention::default(),
        floor_follows: true,
    };
    let others = [
        Response::Peers(vec![peer(), gone]),
        Response::Published(Published { too_few_nodes: true, ..pending }),
        Response::Altered(summary),
    ];
    let all = round_trip(
        [Request::Node(NodeRequest::Stopping), Request::Client(ClientRequest::Alter(alter))],
        refused.into_iter().chain(others),
    );
    frozen("presence.hex", &all);
}

#[test]
fn a_contact_is_that_of_a_newcomer_or_as_it_always_was() {
    let contact = Contact::new(key().node(), peer().addresses);
    let newcomer = Contact { newcomer: true, ..contact.clone() };
    let mut all = Vec::new();
    for contact in [contact, newcomer] {
        let bytes = encode_to_bytes(&contact);
        assert_eq!(minicbor::decode::<Contact>(&bytes).unwrap(), contact);
        all.extend_from_slice(&bytes);
    }
    frozen("contact.hex", &all);
}

#[test]
fn a_descriptor_whose_floor_follows() {
    let mut terms = terms();
    terms.floor_follows = true;
    let signed = terms.sign(&key()).unwrap();
    assert_eq!(SignedDescriptor::verify(signed.bytes().clone()), Ok(signed.clone()));
    frozen("descriptor_floor.hex", signed.bytes());
}

#[test]
fn a_node_says_the_version_of_its_program_in_few_characters() {
    let peers =
        |program: &str| Response::Peers(vec![Peer { program: Some(program.to_owned()), ..peer() }]);
    frozen("program.hex", &round_trip([], [peers("0.1.0")]));
    for odd in ["", "0.1.0\u{1b}[2J", "0.1 0", &"0".repeat(PROGRAM_BYTES_MAX + 1)] {
        let read = Response::decode(&peers(odd).encode());
        assert_eq!(read, Ok(Response::Peers(vec![peer()])), "{odd:?}");
    }
}

#[test]
fn a_node_has_so_many_addresses_and_no_more() {
    let peers = |count| {
        Response::Peers(vec![Peer { addresses: vec![String::new(); count], ..peer() }]).encode()
    };
    assert!(Response::decode(&peers(ADDRESSES_MAX)).is_ok());
    assert!(Response::decode(&peers(ADDRESSES_MAX + 1)).is_err());
}
