//! How a node proves that it holds batches.

use antiphon::{
    limits::PROVE_BATCHES_MAX,
    model::{Hash, NodeId},
    wire::{LogRange, NodeRequest, Request, Response, possession},
};

use super::{batch, frozen, key, round_trip, topic};

fn prove(count: usize) -> Request {
    let range = LogRange::of(batch().header());
    Request::Node(NodeRequest::Prove(topic(), vec![range; count], [5; 32]))
}

fn proven(count: usize) -> Response {
    let proof = possession(&key().node(), &[5; 32], &batch());
    Response::Proven(vec![Some(proof); count], Vec::new())
}

fn responses() -> [Response; 2] {
    [proven(1), Response::Proven(vec![None], vec![LogRange::of(batch().header())])]
}

pub(super) fn samples() -> Vec<Vec<u8>> {
    let responses = responses().map(|response| response.encode().to_vec());
    [prove(1).encode().to_vec()].into_iter().chain(responses).collect()
}

#[test]
fn proofs_of_possession() {
    frozen("possession.hex", &round_trip([prove(1)], responses()));
}

#[test]
fn a_proof_is_of_one_node_one_nonce_and_one_batch() {
    let node = key().node();
    let mut hasher = blake3::Hasher::new_keyed(&[5; 32]);
    hasher.update(node.as_bytes()).update(batch().bytes());
    let proof = possession(&node, &[5; 32], &batch());
    assert_eq!(proof, Hash(hasher.finalize().into()));
    assert_ne!(proof, possession(&NodeId::from_bytes([1; 32]), &[5; 32], &batch()));
    assert_ne!(proof, possession(&node, &[6; 32], &batch()));
}

#[test]
fn a_message_has_as_many_proofs_as_are_allowed_and_no_more() {
    assert!(Request::decode(&prove(PROVE_BATCHES_MAX).encode()).is_ok());
    assert!(Request::decode(&prove(PROVE_BATCHES_MAX + 1).encode()).is_err());
    assert!(Response::decode(&proven(PROVE_BATCHES_MAX).encode()).is_ok());
    assert!(Response::decode(&proven(PROVE_BATCHES_MAX + 1).encode()).is_err());
}
