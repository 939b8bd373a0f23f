//! Live fan-out: what one batch costs on the way to those who follow a topic.
//!
//! The model: all followers are connected to each other and to the writer, which follows nothing
//! itself; a message takes 0.5 to 1.5 ms, and a follower needs 0.2 ms to verify it. The rules
//! are those of libp2p-gossipsub 0.50: the writer sends to all followers (`flood_publish`), a
//! follower passes on to its neighbours but for those that it has it from, and refuses large
//! messages that it has (`IDONTWANT`).

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use crate::{
    settings::{MESH_MAX, MESH_WANTED, TELL_MIN, TELL_SHARE},
    table::{Table, number, whole},
};

const LATENCY_MICROSECONDS: std::ops::RangeInclusive<u64> = 500..=1_500;
const VERIFY_MICROSECONDS: u64 = 200;

/// What happens at a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A copy comes from another follower, or from the writer.
    Copy(Option<usize>),
    /// A neighbour says that it has it.
    Refused(usize),
    /// It is verified.
    Verified,
}

#[derive(Debug, Default, Clone)]
struct Follower {
    has: bool,
    from: BTreeSet<usize>,
    refused_by: BTreeSet<usize>,
}

/// What became of one batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    /// Copies that the writer sent.
    pub(crate) sent: u64,
    /// Copies that followers passed on.
    pub(crate) relayed: u64,
    reached: u64,
    /// When the last follower had it.
    microseconds: u64,
}

/// How the writer and the followers behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// Whether the writer sends to all followers.
    pub(crate) flood: bool,
    /// Whether the batch is large enough to be refused.
    pub(crate) large: bool,
}

/// Draws a mesh: each follower's neighbours.
fn mesh(followers: usize, random: &mut fastrand::Rng) -> Vec<BTreeSet<usize>> {
    let mut mesh = vec![BTreeSet::new(); followers];
    let wanted = MESH_WANTED.min(followers.saturating_sub(1));
    for one in 0..followers {
        // Where others are full already, fewer neighbours have to do.
        for _ in 0..50 {
            let other = random.usize(..followers);
            if mesh[one].len() >= wanted {
                break;
            }
            if other != one && mesh[other].len() < MESH_MAX {
                mesh[one].insert(other);
                mesh[other].insert(one);
            }
        }
    }
    mesh
}

/// Sends one batch to so many followers.
pub(crate) fn spread(followers: usize, way: Way, random: &mut fastrand::Rng) -> Spread {
    let mesh = mesh(followers, random);
    let mut state = vec![Follower::default(); followers];
    let mut spread = Spread::default();
    let mut events = BinaryHeap::new();
    let first = if way.flood { followers } else { MESH_WANTED.min(followers) };
    for to in 0..first {
        spread.sent += 1;
        events.push(Reverse((random.u64(LATENCY_MICROSECONDS), to, Event::Copy(None))));
    }
    while let Some(Reverse((now, at, event))) = events.pop() {
        let follower = &mut state[at];
        match event {
            Event::Copy(from) => {
                follower.from.extend(from);
                if std::mem::replace(&mut follower.has, true) {
                    continue;
                }
                spread.reached += 1;
                spread.microseconds = now;
                events.push(Reverse((now + VERIFY_MICROSECONDS, at, Event::Verified)));
                for to in mesh[at].iter().filter(|to| way.large && Some(**to) != from) {
                    let arrives = now + random.u64(LATENCY_MICROSECONDS);
                    events.push(Reverse((arrives, *to, Event::Refused(at))));
                }
            }
            Event::Refused(by) => {
                follower.refused_by.insert(by);
            }
            Event::Verified => {
                let served = |to: &&usize| {
                    !follower.from.contains(*to) && !follower.refused_by.contains(*to)
                };
                for to in mesh[at].iter().filter(served) {
                    spread.relayed += 1;
                    let arrives = now + random.u64(LATENCY_MICROSECONDS);
                    events.push(Reverse((arrives, *to, Event::Copy(Some(at)))));
                }
            }
        }
    }
    spread
}

/// How the batch of a topic with so many followers spreads, for each way.
pub(crate) fn fanout(scales: &[usize], random: &mut fastrand::Rng) -> Table {
    let mut table = Table::new(
        "fanout",
        "One batch to all followers of a topic. `now`: the writer sends to all of them; `mesh`: to \
         six.\nLarge: above 1,000 bytes, so that who has it refuses it.",
        &["followers", "way", "batch", "writer sends", "relayed", "copies each", "last ms"],
    );
    for followers in scales {
        for (name, flood) in [("now", true), ("mesh", false)] {
            for (size, large) in [("small", false), ("large", true)] {
                let spread = spread(*followers, Way { flood, large }, random);
                assert_eq!(spread.reached, *followers as u64, "everybody is reached");
                table.row(vec![
                    (*followers).into(),
                    name.into(),
                    size.into(),
                    spread.sent.into(),
                    spread.relayed.into(),
                    (number(spread.sent + spread.relayed) / number(*followers)).into(),
                    (number(spread.microseconds) / 1_000.0).into(),
                ]);
            }
        }
    }
    table
}

/// What following costs beside the batches, each second.
pub(crate) fn followers(scales: &[usize], frontier_bytes: u64) -> Table {
    let mut table = Table::new(
        "followers",
        "Beside the batches, per second: while a topic is written to, each follower tells others \
         what it has (`IHAVE`);\neach follower asks each of the 3 replicas for its frontier.",
        &["followers", "tells each", "tells in all", "asks at a replica", "KiB/s of a replica"],
    );
    for followers in scales {
        let others = followers.saturating_sub(1 + MESH_WANTED);
        let share = whole((number(others) * TELL_SHARE).floor());
        let each = share.max(TELL_MIN as u64).min(others as u64);
        table.row(vec![
            (*followers).into(),
            each.into(),
            (each * *followers as u64).into(),
            (*followers).into(),
            (number(*followers as u64 * frontier_bytes) / 1024.0).into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_reached_and_refusals_save_copies() {
        let mut random = fastrand::Rng::with_seed(5);
        for followers in [1, 2, 7, 300] {
            for flood in [false, true] {
                let small = spread(followers, Way { flood, large: false }, &mut random);
                let large = spread(followers, Way { flood, large: true }, &mut random);
                assert_eq!((small.reached, large.reached), (followers as u64, followers as u64));
                assert!(followers < 300 || large.relayed < small.relayed, "{small:?} {large:?}");
            }
        }
    }
}
