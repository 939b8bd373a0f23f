//! Records that a subscriber handed out and that are not acknowledged yet.

use std::collections::{BTreeMap, VecDeque};

use antiphon::model::{Cursor, LogId, Position};

/// Most records that may be handed out and not acknowledged: some 6 MB of memory, and as many
/// records that a crash repeats.
pub(in crate::client) const UNACKNOWLEDGED_MAX: usize = 64 * 1024;

/// Names one record that was handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    log: LogId,
    serial: u64,
}

#[derive(Debug)]
struct HandedOut {
    serial: u64,
    /// Where the reader stood in the log before; none at its start.
    before: Option<Position>,
    is_done: bool,
}

/// The records that were handed out, in the order of their logs.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged {
    logs: BTreeMap<LogId, VecDeque<HandedOut>>,
    serial: u64,
    count: usize,
}

impl Unacknowledged {
    /// Whether no more may be handed out.
    pub(super) fn is_full(&self) -> bool {
        self.count >= UNACKNOWLEDGED_MAX
    }

    /// A record was handed out.
    pub(super) fn hand_out(&mut self, log: LogId, before: Option<Position>) -> Ticket {
        self.serial += 1;
        self.count += 1;
        let handed_out = HandedOut { serial: self.serial, before, is_done: false };
        self.logs.entry(log).or_default().push_back(handed_out);
        Ticket { log, serial: self.serial }
    }

    /// A record is done with.
    pub(super) fn acknowledge(&mut self, Ticket { log, serial }: Ticket) {
        let Some(handed_out) = self.logs.get_mut(&log) else {
            return;
        };
        if let Ok(at) = handed_out.binary_search_by_key(&serial, |it| it.serial)
            && let Some(record) = handed_out.get_mut(at)
        {
            record.is_done = true;
        }
        while handed_out.pop_front_if(|first| first.is_done).is_some() {
            self.count -= 1;
        }
        if handed_out.is_empty() {
            self.logs.remove(&log);
        }
    }

    /// Moves a cursor back to before the first record of each log that is not acknowledged.
    pub(super) fn limit(&self, cursor: &mut Cursor) {
        for (log, handed_out) in &self.logs {
            match handed_out.front().map(|first| first.before) {
                Some(Some(before)) => {
                    cursor.logs.insert(*log, before);
                }
                Some(None) => {
                    cursor.logs.remove(log);
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon::model::{Incarnation, NodeId, TopicId};

    use super::*;

    fn log(incarnation: u64) -> LogId {
        LogId { writer: NodeId::from_bytes([1; 32]), incarnation: Incarnation(incarnation) }
    }

    fn at(next: u64) -> Position {
        Position { next, head: None }
    }

    #[test]
    fn a_position_stands_before_the_first_record_that_is_not_acknowledged() {
        let mut records = Unacknowledged::default();
        let first = records.hand_out(log(1), None);
        let second = records.hand_out(log(1), Some(at(1)));
        let third = records.hand_out(log(1), Some(at(5)));
        let other = records.hand_out(log(2), Some(at(7)));
        let end = Cursor {
            topic: TopicId::from_bytes([2; 32]),
            logs: [(log(1), at(9)), (log(2), at(8))].into(),
        };
        let limited = |records: &Unacknowledged| {
            let mut cursor = end.clone();
            records.limit(&mut cursor);
            (cursor.next(&log(1)), cursor.next(&log(2)))
        };
        assert_eq!(limited(&records), (0, 7));
        records.acknowledge(second);
        assert_eq!(limited(&records), (0, 7), "the first one comes before it");
        records.acknowledge(first);
        assert_eq!(limited(&records), (5, 7));
        records.acknowledge(third);
        assert_eq!(limited(&records), (9, 7));
        records.acknowledge(other);
        assert_eq!(limited(&records), (9, 8));
        assert!(records.logs.is_empty() && records.count == 0);
    }

    #[test]
    fn so_many_are_handed_out_and_no_more() {
        let mut records = Unacknowledged::default();
        let first = records.hand_out(log(1), None);
        for next in 1..UNACKNOWLEDGED_MAX as u64 {
            let _ = records.hand_out(log(1), Some(at(next)));
        }
        assert!(records.is_full());
        records.acknowledge(first);
        assert!(!records.is_full());
    }
}
