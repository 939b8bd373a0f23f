//! Lookups in the table (Kademlia): how many nodes are asked, and how many round trips that takes.
//!
//! The model: every node's buckets are full, each with up to 20 nodes drawn from those that
//! belong there; nobody is away; all round trips take equally long. The walk is that of
//! libp2p-kad's `ClosestPeersIter`: three questions at a time, twenty once it stalls, until the
//! twenty nearest that were heard of have answered. Asking for providers is the same walk.

use antiphon::limits::REPLICAS_DEFAULT;

use crate::{
    settings::{KAD_NEAREST, KAD_PARALLEL},
    space::{Place, Space, distance, shared_bits},
    table::{Table, number},
};

const REPLICAS: usize = REPLICAS_DEFAULT as usize;

/// Bytes of one node in an answer, in libp2p's protobuf: its id (40), one IPv4 address with a port
/// (10), whether it is connected (2), and the heads around them.
const NODE_BYTES: u64 = 56;

/// Bytes of a question: the key (34), its kind, and heads.
const QUESTION_BYTES: u64 = 42;

/// One walk.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Nodes that were asked.
    pub(crate) asked: usize,
    /// Nodes that were told of in all answers.
    told: usize,
    /// Round trips until the owner had been heard of.
    to_owner: usize,
    /// Round trips until the walk ended.
    trips: usize,
    /// The nearest nodes that it found.
    found: Vec<usize>,
}

/// The table of walks.
pub(crate) fn lookup_table() -> Table {
    Table::new(
        "lookups",
        "Walks in the Kademlia table to a topic, from any node: mean of all, and the longest.",
        &[
            "nodes",
            "walks",
            "trips to owner",
            "max",
            "trips in all",
            "max trips",
            "asked",
            "asked max",
            "KiB",
            "home found %",
        ],
    )
}

/// Looks up so many topics, each from another node, and adds what came of it. The mean of how many
/// nodes were asked.
pub(crate) fn lookups(
    space: &Space,
    topics: &[Place],
    walks: usize,
    seed: u64,
    table: &mut Table,
) -> f64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut nearest = Vec::new();
    let (mut all, mut right) = (Vec::new(), 0_usize);
    for topic in topics.iter().take(walks) {
        let walk = walk(space, random.usize(..space.len()), topic, seed);
        space.nearest(topic, REPLICAS, &mut nearest);
        right += usize::from(walk.found.starts_with(&nearest));
        all.push(walk);
    }
    let count = number(all.len());
    let sum = |of: fn(&Walk) -> usize| number(all.iter().map(of).sum::<usize>());
    let most = |of: fn(&Walk) -> usize| all.iter().map(of).max().unwrap_or(0);
    let told = sum(|walk| walk.told) * number(NODE_BYTES);
    let bytes = told + sum(|walk| walk.asked) * number(QUESTION_BYTES);
    let asked = sum(|walk| walk.asked) / count;
    table.row(vec![
        space.len().into(),
        all.len().into(),
        (sum(|walk| walk.to_owner) / count).into(),
        most(|walk| walk.to_owner).into(),
        (sum(|walk| walk.trips) / count).into(),
        most(|walk| walk.trips).into(),
        asked.into(),
        most(|walk| walk.asked).into(),
        (bytes / count / 1024.0).into(),
        (number(right) * 100.0 / count).into(),
    ]);
    asked
}

/// A node that was heard of.
#[derive(Debug)]
struct Heard {
    distance: Place,
    node: usize,
    asked: bool,
}

fn walk(space: &Space, from: usize, target: &Place, seed: u64) -> Walk {
    let mut owner = Vec::new();
    space.nearest(target, 1, &mut owner);
    let mut walk = Walk::default();
    let mut heard: Vec<Heard> = Vec::new();
    hear(space, target, &mut heard, &told_by(space, from, target, seed));
    let mut owner_known = owner.contains(&from) || knows(&heard, &owner);
    let (mut parallel, mut fruitless) = (KAD_PARALLEL, 0);
    loop {
        let near = heard.iter_mut().take(KAD_NEAREST).filter(|node| !node.asked);
        let next: Vec<usize> = near
            .take(parallel)
            .map(|node| {
                node.asked = true;
                node.node
            })
            .collect();
        if next.is_empty() {
            break;
        }
        walk.trips += 1;
        for node in next {
            let answer = told_by(space, node, target, seed);
            walk.asked += 1;
            walk.told += answer.len();
            if hear(space, target, &mut heard, &answer) {
                (parallel, fruitless) = (KAD_PARALLEL, 0);
            } else {
                fruitless += 1;
            }
        }
        if fruitless >= parallel {
            parallel = KAD_NEAREST;
        }
        if !owner_known {
            walk.to_owner = walk.trips;
            owner_known = knows(&heard, &owner);
        }
    }
    walk.found = heard.iter().take(REPLICAS).map(|node| node.node).collect();
    // The table of a node does not hold itself.
    if let Err(at) =
        heard.binary_search_by(|node| node.distance.cmp(&distance(target, space.place(from))))
    {
        walk.found.insert(at.min(walk.found.len()), from);
        walk.found.truncate(REPLICAS);
    }
    walk
}

fn knows(heard: &[Heard], owner: &[usize]) -> bool {
    heard.first().is_some_and(|first| owner.contains(&first.node))
}

/// Takes note of nodes; whether one of them is nearer than all before.
fn hear(space: &Space, target: &Place, heard: &mut Vec<Heard>, told: &[usize]) -> bool {
    let nearest = heard.first().map(|first| first.distance);
    for node in told {
        let far = distance(target, space.place(*node));
        if let Err(at) = heard.binary_search_by(|other| other.distance.cmp(&far)) {
            heard.insert(at, Heard { distance: far, node: *node, asked: false });
        }
    }
    heard.first().map(|first| first.distance) < nearest || nearest.is_none()
}

/// The nodes nearest to a target that a node has in its buckets.
fn told_by(space: &Space, node: usize, target: &Place, seed: u64) -> Vec<usize> {
    let mine = space.place(node);
    let shared = shared_bits(mine, target);
    // Whoever is in the bucket on the target's side is nearer to it than all others. Beyond it, the
    // deeper buckets are as near as each other, and the shallower ones follow one by one.
    let mut told = bucket(space, node, shared, seed);
    let mut deeper = Vec::new();
    for depth in shared + 1..256 {
        if told.len() >= KAD_NEAREST || space.sharing(mine, depth).len() <= 1 {
            break;
        }
        deeper.extend(bucket(space, node, depth, seed));
    }
    sort(space, target, &mut told);
    sort(space, target, &mut deeper);
    told.append(&mut deeper);
    for depth in (0..shared.min(256)).rev() {
        if told.len() >= KAD_NEAREST {
            break;
        }
        let mut shallower = bucket(space, node, depth, seed);
        sort(space, target, &mut shallower);
        told.append(&mut shallower);
    }
    told.truncate(KAD_NEAREST);
    told
}

fn sort(space: &Space, target: &Place, nodes: &mut [usize]) {
    nodes.sort_unstable_by_key(|node| distance(target, space.place(*node)));
}

/// A node's bucket of those that share `depth` bits with it and no more. It is drawn when it is
/// looked at, and the same each time.
fn bucket(space: &Space, node: usize, depth: usize, seed: u64) -> Vec<usize> {
    let mut other = *space.place(node);
    let Some(byte) = other.get_mut(depth / 8) else {
        return Vec::new();
    };
    *byte ^= 0x80 >> (depth % 8);
    let range = space.sharing(&other, depth + 1);
    if range.len() <= KAD_NEAREST {
        return range.collect();
    }
    let own = (node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (depth as u64) << 56;
    let mut random = fastrand::Rng::with_seed(seed ^ own);
    let mut drawn = Vec::with_capacity(KAD_NEAREST);
    while drawn.len() < KAD_NEAREST {
        let one = random.usize(range.clone());
        if !drawn.contains(&one) {
            drawn.push(one);
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::topic;

    #[test]
    fn walks_find_the_nearest() {
        let mut random = fastrand::Rng::with_seed(3);
        for nodes in [5, 50, 2_000] {
            let space = Space::drawn(nodes, &mut random);
            let mut nearest = Vec::new();
            for number in 0..50 {
                let target = topic(number).place();
                space.nearest(&target, REPLICAS, &mut nearest);
                let walk = walk(&space, number % nodes, &target, 3);
                assert_eq!(walk.found, nearest, "{nodes} nodes, topic {number}");
                assert!(walk.asked < nodes.max(60), "{} of {nodes} were asked", walk.asked);
            }
        }
    }

    #[test]
    fn a_bucket_holds_whom_it_should() {
        let mut random = fastrand::Rng::with_seed(4);
        let space = Space::drawn(500, &mut random);
        for depth in 0..10 {
            for node in bucket(&space, 17, depth, 4) {
                assert_eq!(shared_bits(space.place(17), space.place(node)), depth);
            }
        }
    }
}
