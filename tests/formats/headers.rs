//! Headers of batches that were let go.

use antiphon::{
    engine::{HeldSpan, Log},
    limits::{HEADERS_PER_PAGE_MAX, HEADS_MAX},
    model::{Hash, Incarnation, SignedHeader, Stamp, WallClock, encode_to_bytes},
    wire::{HeadsWanted, Held, LogRange, NodeRequest, Page, Request, Response},
};

use super::{batch, frozen, round_trip, topic};

fn page(headers: Vec<SignedHeader>) -> Response {
    Response::Page(Page { headers, ..Page::default() })
}

#[test]
fn headers_without_bodies() {
    let header = SignedHeader::of(&batch());
    let branch = SignedHeader::of(&batch().filed(Incarnation(9)));
    let request =
        Request::Node(NodeRequest::Fetch(topic(), vec![LogRange::position(header.log(), 41)], 1));
    let mut all = round_trip([request], [page(vec![header, branch])]);
    let span = HeldSpan {
        first: 42,
        next: 50,
        base: Some(Hash([7; 32])),
        head: Hash([8; 32]),
        stamp: Stamp::at(WallClock(1_517_363_399_700)),
    };
    let base = Some(Hash([7; 32]));
    let log = Log { low: 42, spans: vec![span], base, headers: Some(40), ..Log::default() };
    let bytes = encode_to_bytes(&log);
    assert_eq!(minicbor::decode::<Log>(&bytes).unwrap(), log);
    all.extend_from_slice(&bytes);
    frozen("headers.hex", &all);
}

#[test]
fn one_page_has_so_many_headers_and_no_more_and_none_that_is_not_signed() {
    let header = SignedHeader::of(&batch());
    let response = |count| page(vec![header.clone(); count]).encode();
    assert!(Response::decode(&response(HEADERS_PER_PAGE_MAX)).is_ok());
    assert!(Response::decode(&response(HEADERS_PER_PAGE_MAX + 1)).is_err());
    let bytes = response(1);
    let place = bytes.windows(header.bytes().len()).position(|part| part == header.bytes());
    let mut forged = bytes.to_vec();
    forged[place.unwrap() + 20] ^= 1;
    assert!(Response::decode(&forged.into()).is_err());
}

#[test]
fn headers_that_prove_the_ends_of_logs() {
    let header = SignedHeader::of(&batch());
    let wanted =
        |logs| Request::Node(NodeRequest::Frontier(topic(), None, Some(HeadsWanted(logs))));
    let held = |heads| Response::Held(Held { heads, ..Held::default() });
    let requests = [wanted(Vec::new()), wanted(vec![header.log()])];
    let mut all = round_trip(requests, []);
    let response = held(vec![header.clone()]);
    assert_eq!(Response::decode(&response.encode()).as_ref(), Ok(&response));
    all.extend_from_slice(&response.encode());
    frozen("heads.hex", &all);
    let many = |count| {
        let request = wanted(vec![header.log(); count]).encode();
        let response = held(vec![header.clone(); count]).encode();
        (Request::decode(&request).is_ok(), Response::decode(&response).is_ok())
    };
    assert_eq!(many(HEADS_MAX), (true, true));
    assert_eq!(many(HEADS_MAX + 1), (false, false));
}
