//! Where somebody signed two batches for one position, a receipt for one never stands for the
//! other; who knows of the fork takes nothing more into the log; and in the end all homes agree on
//! where it parted (S7). That both branches are kept and read is what `survival` and `no_gap` say.

use std::collections::BTreeSet;

use antiphon::{
    engine::Write,
    model::{Batch, ForkProof, Hash, LogId},
};

use crate::world::World;

pub(crate) const NAME: &str = "both branches of a fork";

/// A node says that it has stored what a twin signed.
pub(crate) fn receipt(world: &mut World, node: usize, hash: Hash) -> Result<(), String> {
    let let_go = world.oracle.batches.get(&hash).is_some_and(|it| world.is_let_go(&it.batch));
    let Some(known) = world.oracle.batches.get_mut(&hash) else {
        return Ok(());
    };
    let held = known.holders.contains(&node);
    // What it stored and then handed over may reach the disk with one flush.
    if !held && known.losses == 0 && !known.given_up.contains(&node) && !let_go {
        let batch = &known.batch;
        return Err(format!("node {node} gives a receipt for {batch:?}, {hash:?}, and lacks it"));
    }
    known.acknowledged = known.acknowledged.max(usize::from(held));
    Ok(())
}

fn proofs(world: &World, node: usize) -> impl Iterator<Item = &ForkProof> {
    let disk = &world.nodes[node].disk;
    let pending = disk.pending.iter().filter_map(|(_, write)| match write {
        Write::Fork(proof) => Some(proof),
        _ => None,
    });
    disk.image.tables.forks.iter().chain(pending)
}

/// A node stores a batch.
pub(crate) fn appended(world: &World, node: usize, batch: &Batch) -> Result<(), String> {
    let header = batch.header();
    // A proof that a closure made void stays on the disk.
    let roster = world.nodes[node].admission.as_ref().and_then(|it| it.roster.as_deref());
    let is_void = |proof: &ForkProof| {
        roster.is_some_and(|roster| roster.cut(&proof.topic(), &proof.log()).is_some())
    };
    let sealed = |proof: &&ForkProof| {
        (proof.topic(), proof.log()) == (header.topic, batch.log())
            && proof.at() < header.next()
            && !is_void(proof)
    };
    match proofs(world, node).find(sealed) {
        Some(proof) => Err(format!("node {node} stores {batch:?} in spite of the {proof:?}")),
        None => Ok(()),
    }
}

/// All homes know the same roots.
pub(crate) fn at_end(world: &World) -> Result<(), String> {
    let topics = 0..world.options.topics.len();
    for topic in topics.filter(|topic| !world.deleted.contains(topic)) {
        let id = world.topic(topic);
        let known = |node: usize| -> BTreeSet<(LogId, u64, Hash)> {
            // What parts a log that a closure calls one chain does not count, and stays on disks.
            let of_topic = proofs(world, node)
                .filter(|proof| proof.topic() == id && !world.has_cut(&id, &proof.log()));
            let roots =
                |proof: &ForkProof| proof.roots().map(|hash| (proof.log(), proof.at(), hash));
            of_topic.flat_map(roots).collect()
        };
        let homes: Vec<_> = world.homes(topic, false).into_iter().collect();
        for two in homes.windows(2) {
            let (one, other) = (known(two[0]), known(two[1]));
            if one != other {
                return Err(format!(
                    "homes {} and {} of t{topic} know other forks: {one:?}, {other:?}",
                    two[0], two[1]
                ));
            }
        }
    }
    Ok(())
}
