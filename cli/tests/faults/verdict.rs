//! Judges what readers got against what publishers were told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::load::{Arrival, Name, Seen, lock};

/// What one reader's stream shows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Acknowledged records that it lacks.
    pub(crate) lost: BTreeSet<Name>,
    /// Records that it got more than once.
    pub(crate) duplicates: BTreeSet<Name>,
    /// Records that nobody published, or that were changed.
    pub(crate) phantoms: usize,
    /// Records of one publisher that came before an earlier one of the same writer.
    pub(crate) disordered: Vec<Name>,
    /// The same, where the earlier one was written by another node, after a failover of the
    /// publisher: no order is promised there.
    pub(crate) crossed: usize,
}

impl Reading {
    /// Judges a stream. `offered` has the number of records that each publisher offered.
    pub(crate) fn of(arrivals: &[Arrival], acknowledged: &BTreeSet<Name>, offered: &[u32]) -> Self {
        let mut reading = Self::default();
        let mut seen = BTreeSet::new();
        let (mut by_writer, mut latest) = (BTreeMap::new(), BTreeMap::new());
        for arrival in arrivals {
            let was_offered =
                |name: &Name| offered.get(name.publisher).is_some_and(|count| name.number < *count);
            let Some(name) = arrival.name.filter(was_offered) else {
                reading.phantoms += 1;
                continue;
            };
            if !seen.insert(name) {
                reading.duplicates.insert(name);
                continue;
            }
            let before = by_writer.insert((name.publisher, arrival.writer), name.number);
            if before.is_some_and(|before| before > name.number) {
                reading.disordered.push(name);
            } else if latest.get(&name.publisher).is_some_and(|before| *before > name.number) {
                reading.crossed += 1;
            }
            latest.insert(name.publisher, name.number);
        }
        reading.lost = acknowledged.difference(&seen).copied().collect();
        reading
    }

    /// What must not be, in words.
    pub(crate) fn problems(&self, reader: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let mut say = |count: usize, what: &str, first: Option<&Name>| {
            if count > 0 {
                let first = first.map_or_else(String::new, |name| format!(", first {name:?}"));
                problems.push(format!("{reader}: {count} {what}{first}"));
            }
        };
        say(self.lost.len(), "acknowledged records lost", self.lost.first());
        say(self.duplicates.len(), "records twice", self.duplicates.first());
        say(self.phantoms, "records that nobody published", None);
        say(self.disordered.len(), "records out of their writer's order", self.disordered.first());
        problems
    }
}

/// The longest time without an acknowledgement of one publisher, between `from` and `to`.
pub(crate) fn pause(seen: &Seen, publisher: usize, from: Instant, to: Instant) -> Duration {
    let mut times: Vec<Instant> =
        lock(&seen.sent[publisher]).acknowledged.values().copied().collect();
    times.retain(|time| *time >= from && *time <= to);
    times.push(to);
    times.sort();
    let mut latest = from;
    let mut longest = Duration::ZERO;
    for time in times {
        longest = longest.max(time.duration_since(latest));
        latest = time;
    }
    longest
}

/// What the checker must see, shown before any scenario runs.
pub(crate) fn check_itself() {
    let name = |number| Name { publisher: 0, number };
    let writer = |byte| antiphon::model::NodeId::from_bytes([byte; 32]);
    let arrival = |number, byte| Arrival { name: Some(name(number)), writer: writer(byte) };
    let acknowledged = BTreeSet::from([name(0), name(1), name(2), name(3)]);
    let stream = [
        arrival(1, 1),
        arrival(0, 1),
        arrival(1, 2),
        arrival(3, 1),
        arrival(9, 1),
        Arrival { name: None, writer: writer(1) },
    ];
    let reading = Reading::of(&stream, &acknowledged, &[4]);
    assert_eq!(reading.lost, BTreeSet::from([name(2)]));
    assert_eq!(reading.duplicates, BTreeSet::from([name(1)]));
    assert_eq!((reading.phantoms, &reading.disordered[..]), (2, &[name(0)][..]));
    assert_eq!(reading.problems("it").len(), 4);
    assert_eq!(Name::of_payload(&name(7).to_payload(128)), Some(name(7)));
    let mut damaged = name(7).to_payload(128);
    damaged[100] ^= 1;
    assert_eq!(Name::of_payload(&damaged), None);
}
