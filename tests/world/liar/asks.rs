//! What a liar asks of honest nodes: a function for each lie.

use std::time::Duration;

use antiphon::{
    engine::{self, Input},
    model::{
        Batch, Blob, Draft, Incarnation, Previous, ProducerId, Record, RecordId, Run, Stamp,
        Subscription, TopicId, WallClock, encode_record,
    },
    wire::{Acks, ClientRequest, NodeRequest, Publish, Replicate, Request},
};
use bytes::Bytes;

use super::{Lie, answers};
use crate::world::{
    World,
    choices::Choices,
    node::{Asker, Node, right_wall},
    oracle,
};

/// How many batches are sent again at a time.
const OLD_BATCHES: usize = 5;

/// How far a revision jumps.
const REVISIONS: u64 = 1_000_000;

/// What a liar asks; none where that lie is none that is asked, or nothing fits.
pub(super) fn lie(
    lie: Lie,
    choices: &mut Choices,
    world: &mut World,
    me: usize,
) -> Option<NodeRequest> {
    match lie {
        Lie::PositionAhead => position_ahead(choices, world),
        Lie::OldBatches => old_batches(choices, world),
        Lie::OldTerms => old_terms(choices, world),
        Lie::TermsJump => terms_that_jump(choices, world, me),
        Lie::FalsePart => false_part(choices, world),
        Lie::Jump => jump(choices, world, me),
        Lie::FutureStamp => future_stamp(choices, world, me),
        Lie::Uninvited => uninvited(choices, world, me),
        Lie::Leaving => Some(NodeRequest::Leaving(choices.chance(500))),
        _ => None,
    }
}

fn some_topic(choices: &mut Choices, world: &World, closed: bool) -> Option<TopicId> {
    let fits = |number: &usize| world.options.topics[*number].closed == closed;
    let topics: Vec<_> = (0..world.options.topics.len()).filter(fits).collect();
    (!topics.is_empty()).then(|| world.topic(topics[choices.index(topics.len())]))
}

fn position_ahead(choices: &mut Choices, world: &World) -> Option<NodeRequest> {
    let kept = |node: &Node| node.disk.image.tables.subscriptions.clone();
    let kept: Vec<_> = world.nodes.iter().flat_map(kept).collect();
    if kept.is_empty() {
        return None;
    }
    let ((topic, name), mut position): ((_, _), Subscription) =
        kept[choices.index(kept.len())].clone();
    answers::ahead(choices, &mut position);
    Some(NodeRequest::Keep(topic, name, position, None))
}

fn some_batch(choices: &mut Choices, world: &World) -> Option<Batch> {
    let count = world.oracle.batches.len();
    let at = (count > 0).then(|| choices.index(count))?;
    world.oracle.batches.values().nth(at).map(|known| known.batch.clone())
}

fn old_batches(choices: &mut Choices, world: &World) -> Option<NodeRequest> {
    let some = (0..OLD_BATCHES).filter_map(|_| some_batch(choices, world));
    let batches: Vec<_> = some.collect();
    let replicate = Replicate { batches, ..Replicate::default() };
    (!replicate.batches.is_empty()).then_some(NodeRequest::Replicate(replicate))
}

fn old_terms(choices: &mut Choices, world: &World) -> Option<NodeRequest> {
    let terms = &world.oracle.signed_terms;
    let some = (!terms.is_empty()).then(|| terms[choices.index(terms.len())].clone())?;
    Some(NodeRequest::Announce(Some(Box::new(some))))
}

/// The terms of a topic that anyone may alter, far ahead; or the deletion of one that the liar may
/// not alter.
fn terms_that_jump(choices: &mut Choices, world: &World, me: usize) -> Option<NodeRequest> {
    let closed = choices.chance(500);
    let topic = some_topic(choices, world, closed)?;
    let node = &world.nodes[me];
    let known = node.disk.image.tables.descriptors.get(&topic)?.descriptor().clone();
    let mut terms = known.revised_by(node.id, Stamp::at(right_wall(world.now)));
    if closed && choices.chance(500) {
        terms.deleted = true;
    } else {
        terms.revision += REVISIONS;
    }
    let signed = terms.sign(&node.key).ok()?;
    Some(NodeRequest::Announce(Some(Box::new(signed))))
}

/// A batch that others have, or lack, and the word that all before it was compacted.
fn false_part(choices: &mut Choices, world: &World) -> Option<NodeRequest> {
    let batch = some_batch(choices, world)?;
    let compacted = vec![answers::part_before(choices, &batch)?];
    let replicate = Replicate { batches: vec![batch], compacted, ..Replicate::default() };
    Some(NodeRequest::Replicate(replicate))
}

/// A batch of a log of the liar's that does not begin at its start.
fn jump(choices: &mut Choices, world: &mut World, me: usize) -> Option<NodeRequest> {
    let topic = some_topic(choices, world, false)?;
    let incarnation = Incarnation(choices.below(1 << 62));
    let next = choices.pick(&[1, 100, 1 << 47]);
    let previous = Previous { incarnation, next, hash: answers::some_hash(choices) };
    let stamp = Stamp::at(right_wall(world.now));
    Some(send(world, me, topic, (incarnation, Some(previous), stamp)))
}

/// A batch that is stamped in a year from now, or at the end of time.
fn future_stamp(choices: &mut Choices, world: &mut World, me: usize) -> Option<NodeRequest> {
    let topic = some_topic(choices, world, false)?;
    let incarnation = Incarnation(choices.below(1 << 62));
    let hours = choices.pick(&[1, 24 * 365]);
    let later = right_wall(world.now).plus(Duration::from_secs(hours * 3_600));
    let stamp = if choices.chance(300) { Stamp::MAX } else { Stamp::at(later) };
    Some(send(world, me, topic, (incarnation, None, stamp)))
}

fn uninvited(choices: &mut Choices, world: &mut World, me: usize) -> Option<NodeRequest> {
    let topic = some_topic(choices, world, true)?;
    let incarnation = Incarnation(choices.below(1 << 62));
    let stamp = Stamp::at(right_wall(world.now));
    Some(send(world, me, topic, (incarnation, None, stamp)))
}

/// A record that is published nowhere else, encoded.
fn some_record(world: &mut World, topic: TopicId) -> (ProducerId, u64, Bytes) {
    let number = world.number();
    let (producer, payload) = (ProducerId([251; 16]), format!("251/{number}").into_bytes());
    let mut body = Vec::new();
    // One of the keys that others use.
    let key = Some(vec![1].into());
    let record = Record { key, ..Record::new(WallClock(number), payload.clone()) };
    encode_record(&record, &mut body).unwrap();
    let of_topic = world.topic_number(&topic).expect("a topic of this run");
    let published = oracle::Published { topic: of_topic, payload, batches: Vec::new() };
    world.oracle.published.insert(RecordId { producer, number }, published);
    (producer, number, body.into())
}

/// Publishes at the liar's own engine, so that it has a log.
pub(super) fn publish(choices: &mut Choices, world: &mut World, me: usize) {
    let Some(topic) = some_topic(choices, world, false) else { return };
    let number = world.topic_number(&topic).expect("a topic of this run");
    let name = world.options.topics[number].name.parse().unwrap();
    let (producer, first, records) = some_record(world, topic);
    let publish = Publish {
        topic: name,
        producer,
        first,
        records: Blob(records),
        acks: Acks::One,
        timeout_ms: 1_000,
        retried: false,
    };
    let request = Request::Client(ClientRequest::Publish(publish));
    let question = world.question(me, Asker::World);
    world.handle(me, Input::Asked { question, asker: engine::Asker::Program, request });
}

/// A batch that a liar signs, of a record that is published nowhere else.
fn send(
    world: &mut World,
    me: usize,
    topic: TopicId,
    (incarnation, previous, stamp): (Incarnation, Option<Previous>, Stamp),
) -> NodeRequest {
    let (producer, number, body) = some_record(world, topic);
    let runs = vec![Run { producer, first: number, count: 1 }];
    let draft = Draft { topic, incarnation, previous, stamp, runs };
    let batch = draft.seal(&body, &world.nodes[me].key);
    world.appeared(&batch);
    let descriptors = world.nodes[me].disk.image.tables.descriptors.get(&topic);
    let descriptors = descriptors.cloned().into_iter().collect();
    NodeRequest::Replicate(Replicate { descriptors, batches: vec![batch], ..Replicate::default() })
}
