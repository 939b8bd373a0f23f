//! After the faults all home replicas of a topic hold the same, to the hash of each head, and
//! nobody else holds any of it (L1, L2, L5); then nothing more is sent (L6). A node that is gone
//! for good does not stand in the way (L7).

use std::collections::{BTreeMap, BTreeSet};

use antiphon::model::{Entry, ForkProof, Frontier, LogId, TopicId};

use crate::world::World;

pub(crate) const NAME: &str = "convergence";
pub(crate) const DELETED: &str = "what is deleted does not come back";
pub(crate) const QUIET: &str = "quiet";

fn frontier(
    world: &World,
    node: usize,
    topic: &TopicId,
    adrift: &BTreeSet<(TopicId, LogId)>,
) -> Frontier {
    let logs = world.nodes[node].disk.image.tables.logs.get(topic);
    let held = logs.into_iter().flatten().map(|(id, log)| (*id, log.entry()));
    // What cannot be filed stays where it is.
    let forks = &world.nodes[node].disk.image.tables.forks;
    let origin = |log: &LogId| {
        let of = forks.iter().find(|proof| proof.branches().contains(log));
        of.map_or(*log, ForkProof::log)
    };
    let held = held.filter(|(log, _)| !adrift.contains(&(*topic, origin(log))));
    Frontier(held.filter(|(_, entry)| !entry.spans.is_empty() || entry.low > 0).collect())
}

/// Whether a node that leaves has handed over all that it can: it is still there only because it
/// holds what cannot be filed.
pub(crate) fn has_handed_over(world: &World, node: usize) -> bool {
    let holds_any = || {
        let adrift = world.oracle.adrift();
        let topics = world.nodes[node].disk.image.tables.logs.keys();
        let mut held = topics.map(|topic| frontier(world, node, topic, &adrift));
        held.any(|held| held.0.values().any(|entry| !entry.spans.is_empty()))
    };
    world.nodes[node].tells_leaving && !holds_any()
}

/// All nodes know the same terms of each topic.
fn know_the_same(world: &World) -> Result<(), String> {
    let mut known = world.running().into_iter().map(|node| {
        let terms = world.nodes[node].disk.image.tables.descriptors.iter();
        (node, terms.map(|(topic, signed)| (*topic, signed.descriptor())).collect::<Vec<_>>())
    });
    let Some((first, terms)) = known.next() else { return Ok(()) };
    match known.find(|(_, others)| *others != terms) {
        Some((other, others)) => {
            Err(format!("nodes {first} and {other} know other terms: {terms:?}, {others:?}"))
        }
        None => Ok(()),
    }
}

/// Why the nodes have not converged.
pub(crate) fn converged(world: &World) -> Result<(), String> {
    let topics = 0..world.options.topics.len();
    let topics = topics.filter(|number| !world.deleted.contains(number));
    let is_known = |number: &usize| !world.options.destructive || world.knows_terms(*number);
    let topics = topics.filter(is_known);
    let topics = topics.map(|number| (world.topic(number), world.homes(number, false)));
    let adrift = world.oracle.adrift();
    know_the_same(world)?;
    for (topic, homes) in topics {
        let mut frontiers: BTreeMap<usize, Frontier> = BTreeMap::new();
        let mut kept = Vec::new();
        for node in world.running() {
            if !world.nodes[node].disk.pending.is_empty() {
                return Err(format!("node {node} is writing"));
            }
            if !world.nodes[node].disk.image.damaged.is_empty() {
                return Err(format!("node {node} has damage that nobody has come upon yet"));
            }
            let held = frontier(world, node, &topic, &adrift);
            if homes.contains(&node) {
                frontiers.insert(node, held);
                kept.push(subscriptions(world, node, &topic));
            } else if held.0.values().any(|entry| !entry.spans.is_empty()) {
                return Err(format!(
                    "node {node} is no home of {topic:?}, as {homes:?} are, and holds {held:?}"
                ));
            }
        }
        overlook_cuts(&mut frontiers);
        let different: BTreeSet<_> = frontiers.values().map(Frontier::digest).collect();
        if different.len() > 1 {
            return Err(format!("homes of {topic:?} differ: {:?}", differing(&frontiers)));
        }
        if kept.windows(2).any(|two| two[0] != two[1]) {
            return Err(format!("positions in {topic:?} differ: {kept:#?}"));
        }
    }
    Ok(())
}

/// Each node cuts at its own time: what counts is what is above the highest cut.
fn overlook_cuts(frontiers: &mut BTreeMap<usize, Frontier>) {
    let mut lows: BTreeMap<LogId, u64> = BTreeMap::new();
    for (log, entry) in frontiers.values().flat_map(|held| &held.0) {
        let low = lows.entry(*log).or_default();
        *low = entry.low.max(*low);
    }
    for held in frontiers.values_mut() {
        for (log, entry) in &mut held.0 {
            let low = lows[log];
            entry.spans.retain(|span| span.next > low);
            for span in entry.spans.iter_mut().filter(|_| low > 0) {
                span.first = span.first.max(low);
            }
            (entry.low, entry.base) = (low, None);
        }
        held.0.retain(|_, entry| !entry.spans.is_empty());
    }
}

/// Nothing is left of a topic whose deletion was told to be done, unless faults destroyed what
/// says so.
pub(crate) fn deleted(world: &World) -> Result<(), String> {
    let told = world.deletions_told.iter().filter(|_| !world.options.destructive);
    let nodes = world.running();
    for (topic, node) in told.flat_map(|topic| nodes.iter().map(move |node| (*topic, *node))) {
        let id = world.topic(topic);
        let image = &world.nodes[node].disk.image;
        let batches = image.batches.keys().filter(|place| place.0 == id).count();
        let kept = subscriptions(world, node, &id);
        if batches > 0 || !kept.is_empty() {
            return Err(format!(
                "node {node} holds {batches} batches and {kept:?} of deleted t{topic}"
            ));
        }
    }
    Ok(())
}

/// The logs of which not all hold the same, and what each holds.
fn differing(frontiers: &BTreeMap<usize, Frontier>) -> BTreeMap<LogId, Vec<(usize, Entry)>> {
    let logs: BTreeSet<LogId> =
        frontiers.values().flat_map(|held| held.0.keys().copied()).collect();
    let held = |log: &LogId| -> Vec<(usize, Entry)> {
        let entry = |held: &Frontier| held.0.get(log).cloned().unwrap_or_default();
        frontiers.iter().map(|(node, held)| (*node, entry(held))).collect()
    };
    let logs = logs.into_iter().map(|log| (log, held(&log)));
    logs.filter(|(_, held)| held.windows(2).any(|two| two[0].1 != two[1].1)).collect()
}

fn subscriptions(world: &World, node: usize, topic: &TopicId) -> Vec<String> {
    let kept = world.nodes[node].disk.image.tables.subscriptions.iter();
    let kept = kept.filter(|((of, _), _)| of == topic);
    kept.map(|((_, name), kept)| format!("{name}: {kept:?}")).collect()
}

/// Nothing was asked but whether all is well.
pub(crate) fn quiet(repairs: u64) -> Result<(), String> {
    if repairs == 0 {
        return Ok(());
    }
    Err(format!("{repairs} requests of repair, handover or replication in 10 s of rest"))
}
