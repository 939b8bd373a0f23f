//! What a sweep finds of logs that are written down here.

use std::convert::Infallible;

use super::*;
use crate::{
    engine::holdings::early::Early,
    model::{
        Draft, Incarnation, NodeKey, Previous, ProducerId, Realm, Run, TopicId, encode_record,
    },
    wire::LogRange,
};

/// When all tests of this file are run.
const NOW: WallClock = WallClock(1_000_000);

/// Logs in memory.
#[derive(Debug, Default)]
struct Logs {
    stored: Vec<(Stored, Option<Batch>)>,
}

impl Shelf for Logs {
    type Error = Infallible;

    fn walk(
        &self,
        range: &LogRange,
        visit: &mut dyn FnMut(&Stored) -> Result<(), Infallible>,
    ) -> Result<(), Infallible> {
        let of_log = self.stored.iter().filter(|(stored, _)| stored.part.log == range.log);
        of_log.map(|(stored, _)| stored).try_for_each(visit)
    }

    fn load(&self, stored: &Stored) -> Result<Option<Batch>, Infallible> {
        let found = self.stored.iter().find(|(other, _)| other == stored);
        Ok(found.and_then(|(_, batch)| batch.clone()))
    }
}

/// The log of a writer.
fn log(writer: u8) -> LogId {
    LogId { writer: NodeKey::from_secret(&[writer; 32]).node(), incarnation: Incarnation(1) }
}

impl Logs {
    /// Adds a batch of records to a writer's log: `k=v` has a key, `k=` is a tombstone.
    fn add(&mut self, writer: u8, at: u64, records: &[&str]) {
        let key = NodeKey::from_secret(&[writer; 32]);
        let last = self.stored.iter().rev().find(|(stored, _)| stored.part.log == log(writer));
        let last = last.map(|(stored, _)| stored.part.clone());
        let mut body = Vec::new();
        for record in records {
            let time = WallClock(at);
            let record = match record.split_once('=') {
                Some((key, value)) => {
                    Record::new(time, value.as_bytes().to_vec()).with_key(key.as_bytes().to_vec())
                }
                None => Record::new(time, record.as_bytes().to_vec()),
            };
            encode_record(&record, &mut body).unwrap();
        }
        let incarnation = Incarnation(1);
        let count = u32::try_from(records.len()).unwrap();
        let first = last.as_ref().map_or(0, |last| last.next);
        let draft = Draft {
            topic: TopicId::derive(&Realm::default(), &"t".parse().unwrap()),
            incarnation,
            previous: last.as_ref().map(|last| Previous {
                incarnation,
                next: first,
                hash: last.head,
            }),
            stamp: Stamp::at(WallClock(at)),
            runs: vec![Run { producer: ProducerId([writer; 16]), first, count }],
        };
        let batch = draft.seal(&body.into(), &key);
        let part = Compacted {
            log: batch.log(),
            first,
            next: batch.header().next(),
            base: last.map(|last| last.head),
            head: batch.hash(),
            stamp: batch.header().stamp,
            batches: Vec::new(),
        };
        let bytes = Some(batch.bytes().len() as u64);
        self.stored.push((Stored { part, bytes }, Some(batch)));
    }

    /// What stands here, as numbers of records; compacted parts in a pair of their own.
    fn ranges(&self) -> Vec<(u64, u64, bool)> {
        let range = |stored: &Stored| (stored.part.first, stored.part.next, stored.bytes.is_none());
        self.stored.iter().map(|(stored, _)| range(stored)).collect()
    }

    /// All logs, settled up to some number.
    fn sweep(&self, settled: u64, before: u64) -> Sweep {
        let mut spans: BTreeMap<LogId, SweptSpan> = BTreeMap::new();
        for (stored, _) in &self.stored {
            let range = LogRange { log: stored.part.log, from: 0, to: stored.part.next };
            spans.insert(range.log, SweptSpan { range, settled });
        }
        Sweep {
            spans: spans.into_values().collect(),
            tombstones_before: WallClock(before),
            now: NOW,
            early: Early { after: Stamp::latest_at(NOW), parts: BTreeMap::new() },
        }
    }

    fn sweep_settled(&self, before: u64) -> Swept {
        self.sweep(u64::MAX, before).run(self).unwrap()
    }

    /// Does what a sweep found may be done.
    fn compact(&mut self, swept: &Swept) {
        for part in &swept.parts {
            let within = |stored: &Stored| {
                let other = &stored.part;
                other.log == part.log && part.first <= other.first && other.next <= part.next
            };
            let at = self.stored.iter().position(|(stored, _)| within(stored)).unwrap();
            self.stored.retain(|(stored, _)| !within(stored));
            self.stored.insert(at, (Stored { part: part.clone(), bytes: None }, None));
        }
    }
}

fn found(swept: &Swept) -> Vec<(u64, u64)> {
    swept.parts.iter().map(|part| (part.first, part.next)).collect()
}

#[test]
fn a_batch_goes_when_all_of_its_records_are_superseded() {
    let mut logs = Logs::default();
    logs.add(1, 1, &["a=1", "b=1"]);
    logs.add(1, 2, &["a=2"]);
    logs.add(1, 3, &["a=3", "c=1"]);
    logs.add(1, 4, &["a=4"]);
    let swept = logs.sweep_settled(0);
    assert_eq!(found(&swept), [(2, 3)], "b and c are the only ones, the last batch stays");
    logs.compact(&swept);
    logs.add(1, 5, &["b=2"]);
    logs.add(1, 6, &["c=2"]);
    let swept = logs.sweep_settled(0);
    assert_eq!(found(&swept), [(0, 5)], "one part with what went before");
    assert_eq!(swept.parts[0].base, None);
    logs.compact(&swept);
    assert_eq!(logs.ranges(), [(0, 5, true), (5, 6, false), (6, 7, false), (7, 8, false)]);
    assert_eq!(logs.sweep_settled(0).parts, [], "nothing more may go");
}

#[test]
fn records_without_a_key_stay() {
    let mut logs = Logs::default();
    logs.add(1, 1, &["a=1"]);
    logs.add(1, 2, &["a=2", "noted"]);
    logs.add(1, 3, &["a=3"]);
    assert_eq!(found(&logs.sweep_settled(0)), [(0, 1)]);
}

#[test]
fn the_newest_is_the_one_that_readers_are_shown_last() {
    let mut logs = Logs::default();
    logs.add(1, 10, &["a=old"]);
    logs.add(1, 30, &["x=1"]);
    logs.add(2, 20, &["a=new"]);
    logs.add(2, 40, &["y=1"]);
    let swept = logs.sweep_settled(0);
    assert_eq!(found(&swept), [(0, 1)]);
    assert_eq!(swept.parts[0].log, log(1), "whatever its writer's numbers say");
    // Within a batch the later one counts.
    let mut logs = Logs::default();
    logs.add(1, 1, &["a=1", "a=2"]);
    logs.add(1, 2, &["b=1"]);
    assert_eq!(found(&logs.sweep_settled(0)), []);
}

#[test]
fn only_what_every_home_has_takes_places_and_goes() {
    let mut logs = Logs::default();
    logs.add(1, 1, &["a=1"]);
    logs.add(1, 2, &["a=2"]);
    logs.add(1, 3, &["a=3"]);
    logs.add(1, 4, &["a=4"]);
    let settled = |to| found(&logs.sweep(to, 0).run(&logs).unwrap());
    assert_eq!(settled(1), [], "the newer ones may be lost with this node");
    assert_eq!(settled(2), [(0, 1)]);
    assert_eq!(settled(3), [(0, 2)]);
    assert_eq!(settled(4), [(0, 3)]);
}

#[test]
fn a_tombstone_goes_last_and_in_time() {
    let mut logs = Logs::default();
    logs.add(1, 10, &["a=1", "b=1"]);
    logs.add(1, 20, &["a="]);
    logs.add(1, 30, &["c=1"]);
    let swept = logs.sweep_settled(15);
    assert_eq!((found(&swept), swept.tombstone), (vec![], None), "b is there, and with it a");
    let swept = logs.sweep_settled(25);
    assert_eq!(found(&swept), [], "an older record of its key would come to light");
    logs.add(1, 40, &["b=2"]);
    logs.add(1, 50, &["d=1"]);
    let swept = logs.sweep_settled(25);
    assert_eq!(found(&swept), [(0, 2)], "what it hides goes first");
    assert!(swept.more, "then it may go");
    logs.compact(&swept);
    let swept = logs.sweep_settled(15);
    assert_eq!((found(&swept), swept.tombstone), (vec![], Some(WallClock(20))), "not yet");
    let swept = logs.sweep_settled(25);
    assert_eq!(found(&swept), [(0, 3)]);
    assert_eq!(swept.tombstone, None);
}

#[test]
fn what_cannot_be_read_stays_and_holds_tombstones_back() {
    let mut logs = Logs::default();
    logs.add(1, 10, &["a="]);
    logs.add(1, 20, &["b=1"]);
    logs.add(1, 30, &["b=2"]);
    logs.add(1, 40, &["c=1"]);
    assert_eq!(found(&logs.sweep_settled(15)), [(0, 2)]);
    logs.stored[2].1 = None;
    assert_eq!(found(&logs.sweep_settled(15)), [], "the one that may take a place is damaged");
    logs.stored[1].1 = None;
    assert_eq!(found(&logs.sweep_settled(15)), [], "it may hold an older record of the tombstone");
}

#[test]
fn many_keys_are_taken_in_slices() {
    let mut logs = Logs::default();
    for round in 0..3 {
        for key in 0..40_u64 {
            let records: Vec<_> =
                (0..3).map(|number| format!("{}={round}", key * 3 + number)).collect();
            let records: Vec<_> = records.iter().map(String::as_str).collect();
            logs.add(1, round * 100 + key, &records);
        }
    }
    let sweep = logs.sweep(u64::MAX, 0);
    let whole = sweep.run(&logs).unwrap();
    assert_eq!(found(&whole), [(0, 240)]);
    assert_eq!(sweep.run_with(&logs, 20).unwrap(), whole);
    let (swept, all) = (sweep.run_with(&logs, 1).unwrap(), logs.stored.iter());
    assert_eq!(found(&swept), [], "more than it takes");
    assert_eq!(swept.bytes, all.filter_map(|(stored, _)| stored.bytes).sum::<u64>());
}

/// A stamp a year ahead of what it is now.
const NEXT_YEAR: u64 = NOW.0 + 31_536_000_000;

#[test]
fn a_stamp_from_the_future_takes_nobodys_place_and_stays() {
    let mut logs = Logs::default();
    logs.add(1, NEXT_YEAR, &["k=old"]);
    logs.add(1, NEXT_YEAR + 1, &["other"]);
    logs.add(2, 1_000, &["k=older"]);
    logs.add(2, 2_000, &["k=new"]);
    logs.add(2, 3_000, &["other"]);
    let swept = logs.sweep_settled(0);
    assert_eq!(found(&swept), [(0, 1)], "only what a record that is believed takes the place of");
    assert_eq!(swept.parts[0].log, log(2));
    assert_eq!(swept.early, [LogRange { log: log(1), from: 0, to: 2 }], "both are one part");
}

#[test]
fn what_was_seen_to_lie_in_the_future_is_never_believed() {
    let mut logs = Logs::default();
    logs.add(1, NEXT_YEAR, &["k=old"]);
    logs.add(1, NEXT_YEAR + 1, &["other"]);
    logs.add(2, 2_000, &["k=new"]);
    logs.add(2, 3_000, &["other"]);
    let later = WallClock(NEXT_YEAR + 10_000_000);
    let mut sweep = logs.sweep(u64::MAX, 0);
    sweep.now = later;
    sweep.early.after = Stamp::latest_at(later);
    let swept = sweep.run(&logs).unwrap();
    assert_eq!((swept.parts[0].log, swept.parts.len()), (log(2), 1), "nobody saw it before");
    let part = crate::engine::EarlyPart { first: 0, next: 2, since: NOW };
    sweep.early.parts.insert(log(1), vec![part]);
    let swept = sweep.run(&logs).unwrap();
    assert_eq!((found(&swept), swept.early), (vec![], vec![]));
    // What is stamped when it was long here is later.
    logs.add(2, NOW.0 + 61_000, &["k=newer"]);
    logs.add(2, NOW.0 + 62_000, &["other"]);
    let mut again = logs.sweep(u64::MAX, 0);
    (again.now, again.early) = (later, sweep.early);
    let swept = again.run(&logs).unwrap();
    let gone: Vec<_> = swept.parts.iter().map(|part| (part.log, part.first)).collect();
    let mut expected = [(log(1), 0), (log(2), 0)];
    expected.sort();
    assert_eq!(gone, expected);
}

#[test]
fn a_later_record_of_the_same_log_is_later_whatever_the_stamps_say() {
    let mut logs = Logs::default();
    logs.add(1, 500_000, &["k=a"]);
    logs.add(1, 600_000, &["k=b"]);
    logs.add(1, 1_000, &["k=c"]);
    logs.add(1, 2_000, &["other"]);
    let swept = logs.sweep_settled(0);
    assert_eq!(found(&swept), [(0, 2)], "the writer's clock was set right before `c`");
    let mut logs = Logs::default();
    logs.add(1, NEXT_YEAR, &["k=a"]);
    logs.add(1, NEXT_YEAR + 1, &["k=b"]);
    logs.add(1, NEXT_YEAR + 2, &["other"]);
    assert_eq!(found(&logs.sweep_settled(0)), [(0, 1)]);
}

#[test]
fn what_is_stamped_a_little_ahead_waits_for_its_time() {
    let mut logs = Logs::default();
    logs.add(1, 1_000, &["k=old"]);
    logs.add(1, 2_000, &["other"]);
    logs.add(2, NOW.0 + 1_000, &["k=new"]);
    logs.add(2, NOW.0 + 1_001, &["other"]);
    let swept = logs.sweep_settled(0);
    let last = Some(WallClock(NOW.0 + 1_001));
    assert_eq!((found(&swept), swept.waits, swept.early.len()), (vec![], last, 0));
    let mut sweep = logs.sweep(u64::MAX, 0);
    sweep.now = WallClock(NOW.0 + 2_000);
    let swept = sweep.run(&logs).unwrap();
    assert_eq!((found(&swept), swept.waits), (vec![(0, 1)], None));
}
