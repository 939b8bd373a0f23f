//! What one node has to do and to keep when nothing happens.

use antiphon::limits::{
    MEMBERS_MAX, MESSAGE_BYTES_MAX, REPAIR_INTERVAL, STATEMENT_PARTS, TOPICS_MAX,
};

use crate::{
    settings::{
        ACQUAINT_INTERVAL, ANNOUNCE_INTERVAL, BOOTSTRAP_INTERVAL, CONNECTION_BYTES,
        CONNECTIONS_MAX, COUNTS_MAX, EXCHANGE_BYTES, EXCHANGE_SECONDS, KAD_NEAREST,
        KNOWN_TOPICS_MAX, PING_BYTES, PING_SECONDS, TOPICS_ANNOUNCED_MAX, TOPICS_FOLLOWED_MAX,
        TOPICS_PROVIDED_MAX,
    },
    sizes::Sizes,
    table::{Table, number, whole},
};

/// Bytes of a walk's question and its answer.
const WALK_BYTES: f64 = 1_200.0;

/// What a node sends when nothing is published.
pub(crate) fn idle(scales: &[(usize, f64)], sizes: &Sizes) -> Table {
    let mut table = Table::new(
        "idle",
        "Sent by one node per second, with as many topics as nodes, nothing published: reckoned. Core: \
         at 10 us for a ping\nor its answer and 100 us for an exchange at each end (assumed), the \
         engine's own time not counted.",
        &[
            "nodes",
            "pings",
            "comparisons",
            "walks' questions",
            "pings KiB",
            "comparisons KiB",
            "members KiB",
            "walks KiB",
            "all KiB",
            "core %",
        ],
    );
    for (nodes, asked) in scales {
        let others = number(nodes - 1);
        // Its own, and the answers to those of the others.
        let pings = 2.0 * others;
        let comparisons = others / (REPAIR_INTERVAL.as_secs_f64() + 0.55);
        let buckets = (number(*nodes) / number(KAD_NEAREST)).log2().max(0.0) + 1.0;
        let announced = 3.0 / ANNOUNCE_INTERVAL.as_secs_f64();
        let walks = (buckets + 1.0) / BOOTSTRAP_INTERVAL.as_secs_f64() + announced;
        let questions = walks * asked + announced * number(KAD_NEAREST);
        let pings_bytes = pings * number(PING_BYTES);
        let comparisons_bytes = comparisons * number(sizes.compare);
        let members_bytes = number(*nodes) * number(sizes.peer) / ACQUAINT_INTERVAL.as_secs_f64();
        let walks_bytes = questions * WALK_BYTES;
        let all = pings_bytes + comparisons_bytes + members_bytes + walks_bytes;
        let seconds =
            2.0 * pings * PING_SECONDS + 2.0 * (comparisons + questions) * EXCHANGE_SECONDS;
        table.row(vec![
            (*nodes).into(),
            pings.into(),
            comparisons.into(),
            questions.into(),
            (pings_bytes / 1024.0).into(),
            (comparisons_bytes / 1024.0).into(),
            (members_bytes / 1024.0).into(),
            (walks_bytes / 1024.0).into(),
            (all / 1024.0).into(),
            (seconds * 100.0).into(),
        ]);
    }
    table
}

/// What a node keeps, whatever it holds.
pub(crate) fn state(scales: &[(usize, usize)], memory: (u64, u64), sizes: &Sizes) -> Table {
    let mut table = Table::new(
        "state",
        "Kept by one node, its topics' records not counted. Memory of a topic and of a member as \
         measured (see `memory`),\n30 KiB for a connection; the catalogue on the disk; what a node \
         fetches when it joins: the catalogue, and of every\nnode who it knows.",
        &[
            "nodes",
            "topics",
            "connections MiB",
            "members MiB",
            "topics MiB",
            "memory MiB",
            "catalogue MiB on disk",
            "join MiB",
        ],
    );
    let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
    for (nodes, topics) in scales {
        let (nodes_count, topics_count) = (number(*nodes), number(*topics));
        let connections = nodes_count * number(CONNECTION_BYTES);
        let members = nodes_count * number(memory.1);
        let known = topics_count * number(memory.0);
        let catalogue = topics_count * number(sizes.descriptor);
        let join = catalogue + nodes_count * nodes_count * number(sizes.peer);
        table.row(vec![
            (*nodes).into(),
            (*topics).into(),
            mebibytes(connections).into(),
            mebibytes(members).into(),
            mebibytes(known).into(),
            mebibytes(connections + members + known).into(),
            mebibytes(catalogue).into(),
            mebibytes(join).into(),
        ]);
    }
    table
}

/// What it takes to tell all nodes of one new topic.
pub(crate) fn catalogue(scales: &[(usize, usize)], sizes: &Sizes) -> Table {
    let mut table = Table::new(
        "catalogue",
        "One topic is created: its terms go to all nodes. A node that was away asks another one \
         for the digests of the\nparts, says what it knows of the part that differs, and gets what \
         it lacks.",
        &["nodes", "topics", "all nodes KiB", "to catch up KiB"],
    );
    let digest = 35;
    for (nodes, topics) in scales {
        let told = number(*nodes) * number(sizes.descriptor + EXCHANGE_BYTES);
        let part = number(topics.div_ceil(STATEMENT_PARTS)) * number(sizes.known);
        let parts = number(STATEMENT_PARTS.min(*topics)) * number(digest);
        let caught_up = parts + part + number(sizes.descriptor + 2 * EXCHANGE_BYTES);
        table.row(vec![
            (*nodes).into(),
            (*topics).into(),
            (told / 1024.0).into(),
            (caught_up / 1024.0).into(),
        ]);
    }
    table
}

/// The memory as measured.
pub(crate) fn memory_table(memory: (u64, u64)) -> Table {
    let mut table = Table::new(
        "memory",
        "Memory of one real engine, as this process grew, in bytes.",
        &["each topic", "each member"],
    );
    table.row(vec![memory.0.into(), memory.1.into()]);
    table
}

/// Where the named limits are met. `spread` is how far the fullest node is above the mean.
pub(crate) fn limits(sizes: &Sizes, spread: f64) -> Table {
    let mut table = Table::new(
        "limits",
        "At what number each named limit is met. Topics with R = 3, on the fullest of 1,000 nodes.",
        &["limit", "value", "met at", "of"],
    );
    let on_fullest = |topics: u64| whole(number(topics) * 1_000.0 / 3.0 / spread);
    for (limit, value, at, of) in [
        ("CONNECTIONS_MAX", CONNECTIONS_MAX, CONNECTIONS_MAX + 1, "nodes, less its clients"),
        ("MEMBERS_MAX", MEMBERS_MAX as u64, MEMBERS_MAX as u64 + 1, "nodes"),
        ("TOPICS_MAX", TOPICS_MAX as u64, TOPICS_MAX as u64 + 1, "topics, deleted ones included"),
        (
            "MESSAGE_BYTES_MAX",
            MESSAGE_BYTES_MAX as u64,
            MESSAGE_BYTES_MAX as u64 / sizes.peer,
            "nodes in one answer to who is known",
        ),
        (
            "KNOWN_TOPICS_MAX",
            KNOWN_TOPICS_MAX,
            KNOWN_TOPICS_MAX,
            "topics written by one node to one peer; terms are sent again",
        ),
        ("TOPICS_FOLLOWED_MAX", TOPICS_FOLLOWED_MAX, TOPICS_FOLLOWED_MAX, "topics read at a node"),
        (
            "TOPICS_PROVIDED_MAX",
            TOPICS_PROVIDED_MAX,
            on_fullest(TOPICS_PROVIDED_MAX),
            "topics on 1,000 nodes",
        ),
        (
            "TOPICS_ANNOUNCED_MAX",
            TOPICS_ANNOUNCED_MAX,
            TOPICS_ANNOUNCED_MAX * 1_000 / KAD_NEAREST as u64,
            "topics on 1,000 nodes, evenly",
        ),
        ("COUNTS_MAX", COUNTS_MAX, on_fullest(COUNTS_MAX), "topics on 1,000 nodes"),
    ] {
        table.row(vec![limit.into(), value.into(), at.into(), of.into()]);
    }
    table
}
