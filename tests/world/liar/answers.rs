//! What a liar makes of its engine's answers: a function for each lie.

use antiphon::{
    limits::SEQUENCE_MAX,
    model::{Batch, Compacted, Frontier, Hash, LogId, Span, Subscription, TopicId},
    wire::{Compared, Held, NodeRequest, Page, Peer, Request, Response, TopicDigest, Whereabouts},
};

use super::Lie;
use crate::world::{World, choices::Choices};

/// The answer as a lie has it; none where that lie does not fit.
pub(super) fn lie(
    lie: Lie,
    choices: &mut Choices,
    world: &World,
    to: usize,
    (request, response): (&Request, &Response),
) -> Option<Response> {
    let topic = match request {
        Request::Node(NodeRequest::Frontier(topic, ..) | NodeRequest::Fetch(topic, ..)) => {
            Some(*topic)
        }
        _ => None,
    };
    match (lie, response.clone()) {
        (Lie::CopiedFrontier, Response::Held(held)) => Some(copied(world, to, topic?, held)),
        (Lie::EndBeyond, Response::Held(held)) => end_beyond(choices, held),
        (Lie::FalseLow, Response::Held(mut held)) => {
            if choices.chance(500) {
                held.frontier = frontier(world, to, topic?);
            }
            false_low(choices, held)
        }
        (Lie::HoldsNothing, Response::Held(held)) => Some(holds_nothing(held)),
        (Lie::OddMembers, Response::Held(held)) => Some(odd_members(choices, held)),
        (Lie::PositionAhead, Response::Held(held)) => position_ahead(choices, held),
        (Lie::PositionAhead, Response::Positions(mut positions, more)) => {
            for (_, position) in &mut positions {
                ahead(choices, position);
            }
            Some(Response::Positions(positions, more))
        }
        (Lie::OddDigest, Response::Compared(_, wall)) => {
            Some(Response::Compared(odd_digest(choices, world), wall))
        }
        (Lie::Withheld, Response::Page(page)) => Some(withheld(choices, world, page)),
        (Lie::FalsePart, Response::Page(page)) => compacted(choices, page),
        (Lie::FalseWhereabouts, Response::Whereabouts(places)) => {
            whereabouts(choices, world, places)
        }
        (Lie::Settled, Response::Peers(peers)) => settled(peers),
        _ => None,
    }
}

/// What is on the disk of a node, as that would say it.
fn frontier(world: &World, node: usize, topic: TopicId) -> Frontier {
    let logs = world.nodes[node].disk.image.tables.logs.get(&topic);
    Frontier(logs.into_iter().flatten().map(|(id, log)| (*id, log.entry())).collect())
}

fn copied(world: &World, to: usize, topic: TopicId, mut held: Held) -> Response {
    held.frontier = frontier(world, to, topic);
    held.keeps = true;
    Response::Held(held)
}

fn end_beyond(choices: &mut Choices, mut held: Held) -> Option<Response> {
    let beyond = choices.pick(&[1, 10, 1_000, SEQUENCE_MAX / 2]);
    let head = some_hash(choices);
    let spans = held.frontier.0.values_mut().filter_map(|entry| entry.spans.last_mut());
    let mut is_any = false;
    for span in spans {
        (span.next, span.head) = ((span.next + beyond).min(SEQUENCE_MAX), head);
        is_any = true;
    }
    is_any.then_some(Response::Held(held))
}

fn false_low(choices: &mut Choices, mut held: Held) -> Option<Response> {
    let beyond = choices.pick(&[0, 5, SEQUENCE_MAX / 2]);
    let keeps_end = choices.chance(300);
    let mut is_any = false;
    for entry in held.frontier.0.values_mut() {
        let Some((next, head)) = entry.end() else { continue };
        is_any = true;
        if keeps_end {
            // All but the last record.
            let last = Span { first: next - 1, next, head };
            (entry.low, entry.base, entry.spans) = (last.first, None, vec![last]);
        } else {
            (entry.low, entry.base) = ((next + beyond).min(SEQUENCE_MAX), Some(head));
            entry.spans.clear();
        }
    }
    is_any.then_some(Response::Held(held))
}

fn holds_nothing(mut held: Held) -> Response {
    (held.frontier, held.position) = (Frontier::default(), None);
    Response::Held(held)
}

fn odd_members(choices: &mut Choices, mut held: Held) -> Response {
    held.members ^= 1 + choices.below(1 << 32);
    Response::Held(held)
}

fn position_ahead(choices: &mut Choices, mut held: Held) -> Option<Response> {
    ahead(choices, held.position.as_mut()?);
    Some(Response::Held(held))
}

/// A position beyond all that exists, or of a generation that nobody opened.
pub(super) fn ahead(choices: &mut Choices, position: &mut Subscription) {
    if choices.chance(300) {
        position.generation += choices.pick(&[1, 1_000_000]);
    }
    let logs = position.cursor.iter_mut().flat_map(|cursor| cursor.logs.values_mut());
    let beyond = choices.pick(&[1, 5, 1_000_000]);
    logs.for_each(|at| (at.next, at.head) = (at.next + beyond, None));
}

fn odd_digest(choices: &mut Choices, world: &World) -> Compared {
    if choices.chance(500) {
        return Compared::InStep;
    }
    let topics = (0..world.options.topics.len()).map(|number| world.topic(number));
    let mut topics: Vec<_> = topics.collect();
    topics.sort_unstable();
    let digests = topics.into_iter().map(|topic| {
        let Hash(digest) = some_hash(choices);
        TopicDigest { topic, digest }
    });
    let digests = digests.collect();
    Compared::Differs(digests, some_hash(choices))
}

fn withheld(choices: &mut Choices, world: &World, mut page: Page) -> Response {
    let all = choices.chance(500);
    let is_held =
        |hash: &Hash| world.oracle.batches.get(hash).is_some_and(|known| !known.holders.is_empty());
    page.batches.retain(|batch| !all && is_held(&batch.hash()));
    page.finished = choices.chance(500);
    Response::Page(page)
}

/// The last batch of a page stays, and all before it was compacted.
fn compacted(choices: &mut Choices, mut page: Page) -> Option<Response> {
    let kept = page.batches.pop()?;
    page.compacted = vec![part_before(choices, &kept)?];
    page.batches = vec![kept];
    Some(Response::Page(page))
}

/// A part that has the place of all that comes before a batch, or of a little of it.
pub(super) fn part_before(choices: &mut Choices, batch: &Batch) -> Option<Compacted> {
    let header = batch.header();
    let before = header.previous.filter(|it| it.incarnation == header.incarnation)?;
    let first = header.first.saturating_sub(choices.pick(&[SEQUENCE_MAX, 1, 5]));
    let base = (first > 0).then(|| some_hash(choices));
    Some(Compacted {
        log: batch.log(),
        first,
        next: header.first,
        base,
        head: before.hash,
        stamp: header.stamp,
        batches: Vec::new(),
    })
}

fn whereabouts(
    choices: &mut Choices,
    world: &World,
    mut places: Vec<Option<Whereabouts>>,
) -> Option<Response> {
    let logs: Vec<LogId> = world.oracle.ends.keys().map(|(_, log)| *log).collect();
    if logs.is_empty() {
        return None;
    }
    let log = logs[choices.index(logs.len())];
    let place = Whereabouts { log, first: choices.below(20), whole: true };
    places.fill(Some(place));
    Some(Response::Whereabouts(places))
}

fn settled(mut peers: Vec<Peer>) -> Option<Response> {
    peers.first_mut()?.newcomer_ms = None;
    Some(Response::Peers(peers))
}

pub(super) fn some_hash(choices: &mut Choices) -> Hash {
    Hash(std::array::from_fn(|_| u8::try_from(choices.below(256)).expect("a byte")))
}
