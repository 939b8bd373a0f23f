//! What a run is like: drawn from the seed before it begins (a swarm: each run has other faults).

use std::time::Duration;

use antiphon::model::{Retention, TopicId, TopicName};

use crate::world::{World, choices::Choices, faults::Fault};

/// A topic of a run.
#[derive(Debug, Clone)]
pub(crate) struct TopicOptions {
    pub(crate) id: TopicId,
    pub(crate) name: String,
    pub(crate) replicas: u16,
    /// Its floor, or the lowest that it may be where that follows the network.
    pub(crate) min_copies: u16,
    pub(crate) floor_follows: bool,
    pub(crate) retention: Retention,
    /// Whether only honest nodes may write to it.
    pub(crate) closed: bool,
}

/// What a run is like.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Nodes at the start.
    pub(crate) nodes: usize,
    /// Nodes that there may be in the end.
    pub(crate) nodes_max: usize,
    pub(crate) topics: Vec<TopicOptions>,
    pub(crate) publishers: usize,
    pub(crate) readers: usize,
    pub(crate) subscribers: usize,
    /// Members of the one group.
    pub(crate) members: usize,
    /// How long the faults last.
    pub(crate) faults_for: Duration,
    /// The longest time between two faults.
    pub(crate) fault_pause: Duration,
    /// The faults that occur; one that stands twice occurs twice as often.
    pub(crate) faults: Vec<Fault>,
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    pub(crate) loss: u32,
    pub(crate) duplicates: u32,
    pub(crate) delays: u32,
    pub(crate) gossip_loss: u32,
    pub(crate) flush: Duration,
    pub(crate) gone_after: Duration,
    /// Largest payload, in bytes.
    pub(crate) payload: usize,
    /// Longest pause of a publisher between two publishes.
    pub(crate) publish_pause: Duration,
    /// Longest pause of a reader between two reads.
    pub(crate) read_pause: Duration,
    /// Whether a disk may lose what it has flushed in this run.
    pub(crate) destructive: bool,
    /// Whether somebody deletes the last topic.
    pub(crate) deletes: bool,
    /// Whether at most one clock is wrong at a time.
    pub(crate) one_clock: bool,
    /// Whether the terms of topics change.
    pub(crate) alters: bool,
    /// Whether the operator says of a node that has left that it will not come back.
    pub(crate) forgets: bool,
    /// For how long nodes must be connected before they rely on each other's word.
    pub(crate) probation: Duration,
}

impl Options {
    /// Draws what a run is like.
    pub(crate) fn draw(choices: &mut Choices) -> Self {
        let nodes = 3 + choices.index(4);
        let nodes_max = (nodes + choices.index(3)).min(8);
        let topics = (0..=choices.index(3)).map(|number| draw_topic(choices, number)).collect();
        let mut faults = Vec::new();
        let destructive = choices.chance(500);
        for fault in Fault::ALL {
            let allowed = !fault.is_destructive() || destructive;
            if allowed && choices.chance(500) {
                faults.extend(std::iter::repeat_n(*fault, 1 + choices.index(3)));
            }
        }
        let deletes = choices.chance(150);
        let one_clock = choices.chance(800);
        let alters = choices.chance(200);
        let milliseconds = Duration::from_millis;
        Self {
            nodes,
            nodes_max,
            topics,
            publishers: 1 + choices.index(5),
            readers: 1 + choices.index(3),
            subscribers: choices.index(3),
            members: choices.pick(&[0, 0, 1, 2, 4]),
            faults_for: Duration::from_secs(choices.pick(&[10, 20, 30, 45])),
            fault_pause: milliseconds(choices.pick(&[1_000, 300, 3_000, 6_000])),
            faults,
            latency: Duration::from_micros(choices.pick(&[200, 50, 1_000, 10_000, 40_000])),
            jitter: Duration::from_micros(choices.pick(&[100, 1_000, 20_000, 200_000])),
            loss: choices.pick(&[0, 0, 0, 5, 20, 100, 250]),
            duplicates: choices.pick(&[0, 0, 10, 100]),
            delays: choices.pick(&[0, 0, 2, 20]),
            gossip_loss: choices.pick(&[0, 50, 300, 1_000]),
            flush: Duration::from_micros(choices.pick(&[500, 100, 5_000, 30_000])),
            gone_after: Duration::from_secs(choices.pick(&[30, 15, 60])),
            payload: choices.pick(&[20, 200, 2_000, 20_000]),
            publish_pause: milliseconds(choices.pick(&[50, 10, 300, 1_500])),
            read_pause: milliseconds(choices.pick(&[10, 100, 3_000])),
            destructive,
            deletes,
            one_clock,
            alters,
            forgets: true,
            probation: Duration::from_secs(choices.pick(&[0, 0, 0, 20])),
        }
    }
}

fn draw_topic(choices: &mut Choices, number: usize) -> TopicOptions {
    let replicas = choices.pick(&[3, 3, 2, 1, 4, 5]);
    let (min_copies, floor_follows) = match choices.index(4) {
        0 => (1, true),
        1 => (2.min(replicas), false),
        2 => (1, false),
        _ => (replicas.min(3), false),
    };
    let retention = draw_retention(choices);
    let name: TopicName = format!("t{number}").parse().unwrap();
    let id = World::topic_named(&name);
    TopicOptions {
        id,
        name: name.to_string(),
        replicas,
        min_copies,
        floor_follows,
        retention,
        closed: false,
    }
}

/// How long a topic keeps its records.
pub(crate) fn draw_retention(choices: &mut Choices) -> Retention {
    match choices.index(8) {
        0 => Retention { records: Some(choices.pick(&[40, 10, 200])), ..Retention::default() },
        1 => Retention { bytes: Some(choices.pick(&[20_000, 4_000])), ..Retention::default() },
        2 => Retention { age_ms: Some(choices.pick(&[10_000, 3_000])), ..Retention::default() },
        3 | 4 => Retention {
            tombstones_ms: Some(choices.pick(&[5_000, 1_000, 3_600_000])),
            // Both at once.
            records: choices.chance(200).then_some(200),
            ..Retention::default()
        },
        _ => Retention::default(),
    }
}
