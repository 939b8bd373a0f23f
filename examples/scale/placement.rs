//! How topics spread over nodes, and what moves when nodes leave for good.

use std::collections::BTreeSet;

use antiphon::limits::{REPAIR_BYTES_PER_SECOND_MAX, REPLICAS_DEFAULT};

use crate::{
    space::{Place, Space},
    table::{Table, number},
};

const REPLICAS: usize = REPLICAS_DEFAULT as usize;

/// Bytes of one topic, for all that depends on how much is stored. Assumed; what moves grows with
/// it in proportion.
pub(crate) const TOPIC_BYTES: u64 = 100 * 1024 * 1024;

/// What each node has of something.
#[derive(Debug)]
struct Loads(Vec<u32>);

impl Loads {
    fn of(mut loads: Vec<u32>) -> Self {
        loads.sort_unstable();
        Self(loads)
    }

    /// The load that `per_thousand` of the nodes do not exceed.
    fn quantile(&self, per_thousand: usize) -> u64 {
        let last = self.0.len() - 1;
        u64::from(self.0[last * per_thousand / 1_000])
    }

    fn mean(&self) -> f64 {
        number(self.0.iter().copied().map(u64::from).sum::<u64>()) / number(self.0.len())
    }
}

/// The table of how topics spread.
pub(crate) fn balance_table() -> Table {
    Table::new(
        "balance",
        "Topics per node with R = 3: copies, and topics that the node owns (it is the nearest).",
        &[
            "nodes",
            "topics",
            "copies mean",
            "min",
            "p50",
            "p99",
            "max",
            "max/mean",
            "owned p50",
            "owned p99",
            "owned max",
        ],
    )
}

/// Places every topic, and adds what came of it; how far the fullest node is above the mean.
pub(crate) fn balance(space: &Space, topics: &[Place], table: &mut Table) -> f64 {
    let mut copies = vec![0; space.len()];
    let mut owned = vec![0; space.len()];
    let mut homes = Vec::with_capacity(REPLICAS);
    for topic in topics {
        space.nearest(topic, REPLICAS, &mut homes);
        for node in &homes {
            copies[*node] += 1;
        }
        if let Some(owner) = homes.first() {
            owned[*owner] += 1;
        }
    }
    let (copies, owned) = (Loads::of(copies), Loads::of(owned));
    let spread = number(copies.quantile(1_000)) / copies.mean();
    table.row(vec![
        space.len().into(),
        topics.len().into(),
        copies.mean().into(),
        copies.quantile(0).into(),
        copies.quantile(500).into(),
        copies.quantile(990).into(),
        copies.quantile(1_000).into(),
        spread.into(),
        owned.quantile(500).into(),
        owned.quantile(990).into(),
        owned.quantile(1_000).into(),
    ]);
    spread
}

/// The table of what moves.
pub(crate) fn leave_table() -> Table {
    Table::new(
        "leave",
        "1 % of the nodes leave for good, all at once, and are replaced after ten minutes. A topic \
         has 100 MiB (assumed).\nTime is that of the node which fetches most, at \
         REPAIR_BYTES_PER_SECOND_MAX. Lost: all three homes were among those that left.",
        &[
            "nodes",
            "topics",
            "left",
            "copies moved",
            "GiB moved",
            "fetched mean",
            "fetched max",
            "sent max",
            "seconds",
            "on 1 copy",
            "lost",
        ],
    )
}

/// Takes 1 % of the nodes away, places again what they held, and adds what came of it.
pub(crate) fn leave(
    space: &Space,
    topics: &[Place],
    random: &mut fastrand::Rng,
    table: &mut Table,
) {
    let count = (space.len() / 100).max(1);
    let mut left = BTreeSet::new();
    while left.len() < count {
        left.insert(random.usize(..space.len()));
    }
    let stay: Vec<usize> = (0..space.len()).filter(|node| !left.contains(node)).collect();
    let rest = Space::of(stay.iter().map(|node| *space.place(*node)).collect());
    let (mut fetched, mut sent) = (vec![0_u32; space.len()], vec![0_u32; space.len()]);
    let (mut moved, mut lost, mut on_one) = (0_u64, 0_u64, 0_u64);
    let (mut homes, mut new) = (Vec::new(), Vec::new());
    for topic in topics {
        space.nearest(topic, REPLICAS, &mut homes);
        let holders: Vec<usize> =
            homes.iter().copied().filter(|node| !left.contains(node)).collect();
        if holders.len() == homes.len() {
            continue;
        }
        let Some(source) = holders.first() else {
            lost += 1;
            continue;
        };
        on_one += u64::from(holders.len() == 1);
        rest.nearest(topic, REPLICAS, &mut new);
        for node in new.iter().map(|node| stay[*node]).filter(|node| !holders.contains(node)) {
            fetched[node] += 1;
            sent[*source] += 1;
            moved += 1;
        }
    }
    let (fetched, sent) = (Loads::of(fetched), Loads::of(sent));
    let most = fetched.quantile(1_000);
    table.row(vec![
        space.len().into(),
        topics.len().into(),
        count.into(),
        moved.into(),
        (number(moved * TOPIC_BYTES) / f64::from(1 << 30)).into(),
        fetched.mean().into(),
        most.into(),
        sent.quantile(1_000).into(),
        (number(most * TOPIC_BYTES) / number(REPAIR_BYTES_PER_SECOND_MAX)).into(),
        on_one.into(),
        lost.into(),
    ]);
}
