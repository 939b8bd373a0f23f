//! What compaction leaves of a log.

use antiphon::{
    limits::{COMPACTED_BYTES_MAX, COMPACTED_HASHES_MAX},
    model::{Compacted, Hash, RetentionChange, ShortHash, Stamp, WallClock, encode_to_bytes},
    wire::{Alter, Checked, ClientRequest, NodeRequest, Page, Replicate, Request, Response},
};

use super::{batch, frozen, round_trip};

fn part() -> Compacted {
    Compacted {
        log: batch().log(),
        first: 3,
        next: 40,
        base: Some(Hash([7; 32])),
        head: Hash([8; 32]),
        stamp: Stamp::at(WallClock(1_517_363_399_700)),
        batches: vec![ShortHash::from(Hash([6; 32])), ShortHash::from(Hash([8; 32]))],
    }
}

#[test]
fn compacted_parts() {
    let start = Compacted { first: 0, base: None, batches: Vec::new(), ..part() };
    let compacted = vec![start, part()];
    let replicate =
        Replicate { batches: vec![batch()], compacted: compacted.clone(), ..Replicate::default() };
    let retention =
        RetentionChange { tombstones_ms: Some(604_800_000), ..RetentionChange::default() };
    let name = "earthquakes".parse().unwrap();
    let alter = Alter { name, replicas: None, min_copies: None, retention, floor_follows: false };
    let page = Page { batches: vec![batch()], compacted: compacted.clone(), ..Page::default() };
    let checked = Checked { compacted, to: 42, ..Checked::default() };
    let requests = [
        Request::Node(NodeRequest::Replicate(replicate)),
        Request::Client(ClientRequest::Alter(alter)),
    ];
    let all = round_trip(requests, [Response::Page(page), Response::Checked(checked)]);
    frozen("compacted.hex", &all);
}

#[test]
fn a_part_names_so_many_batches_and_no_more() {
    let named = |count| {
        let name = ShortHash::from(Hash([6; 32]));
        encode_to_bytes(&Compacted { batches: vec![name; count], ..part() })
    };
    let most = named(COMPACTED_HASHES_MAX);
    assert!(most.len() <= COMPACTED_BYTES_MAX, "{}", most.len());
    assert!(minicbor::decode::<Compacted>(&most).is_ok());
    assert!(minicbor::decode::<Compacted>(&named(COMPACTED_HASHES_MAX + 1)).is_err());
}
