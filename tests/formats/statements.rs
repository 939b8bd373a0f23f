//! How nodes compare and tell the terms of topics.

use antiphon::{
    limits::{DESCRIPTORS_PER_MESSAGE_MAX, STATEMENTS_PER_MESSAGE_MAX},
    model::{Hash, SignedDescriptor},
    wire::{
        NodeRequest, PartDigest, PartWanted, Request, Response, StatementsTold, StatementsWanted,
    },
};

use super::{frozen, key, round_trip, terms, topic};

fn signed() -> SignedDescriptor {
    terms().sign(&key()).unwrap()
}

fn part(known: usize) -> Request {
    let known = vec![(topic(), signed().hash()); known];
    let wanted = PartWanted { part: 7, after: Some(topic()), to: None, known };
    Request::Node(NodeRequest::Statements(StatementsWanted::Part(wanted)))
}

fn messages() -> ([Request; 3], [Response; 2]) {
    let requests = [
        Request::Node(NodeRequest::Statements(StatementsWanted::Digests)),
        part(1),
        Request::Node(NodeRequest::Announce(Some(Box::new(signed())))),
    ];
    let responses = [
        StatementsTold::Digests(vec![PartDigest { part: 7, digest: Hash([9; 32]) }]),
        StatementsTold::Terms(vec![signed()], Some(topic())),
    ];
    (requests, responses.map(Response::Statements))
}

pub(super) fn samples() -> Vec<Vec<u8>> {
    let (requests, responses) = messages();
    let requests = requests.iter().map(|request| request.encode().to_vec());
    requests.chain(responses.iter().map(|response| response.encode().to_vec())).collect()
}

#[test]
fn statements() {
    let (requests, responses) = messages();
    frozen("statements.hex", &round_trip(requests, responses));
}

#[test]
fn a_message_has_as_many_statements_as_are_allowed_and_no_more() {
    assert!(Request::decode(&part(STATEMENTS_PER_MESSAGE_MAX).encode()).is_ok());
    assert!(Request::decode(&part(STATEMENTS_PER_MESSAGE_MAX + 1).encode()).is_err());
    let told = |count| Response::Statements(StatementsTold::Terms(vec![signed(); count], None));
    assert!(Response::decode(&told(DESCRIPTORS_PER_MESSAGE_MAX).encode()).is_ok());
    assert!(Response::decode(&told(DESCRIPTORS_PER_MESSAGE_MAX + 1).encode()).is_err());
}

#[test]
fn terms_that_are_forged_or_of_a_newer_program_are_left_out() {
    let (good, mut bad) = (signed(), signed().bytes().to_vec());
    *bad.last_mut().unwrap() ^= 1;
    let told = Response::Statements(StatementsTold::Terms(vec![good.clone()], None));
    let bytes = told.encode();
    let at = bytes.windows(good.bytes().len()).position(|part| part == good.bytes()).unwrap();
    let forged = [&bytes[..at], &bad, &bytes[at + bad.len()..]].concat();
    let nothing = Response::Statements(StatementsTold::Terms(Vec::new(), None));
    assert_eq!(Response::decode(&forged.into()), Ok(nothing));
    let bytes = Request::Node(NodeRequest::Announce(Some(Box::new(good)))).encode();
    let at = bytes.len() - bad.len();
    let forged = [&bytes[..at], &bad].concat();
    assert_eq!(Request::decode(&forged.into()), Ok(Request::Node(NodeRequest::Announce(None))));
}
