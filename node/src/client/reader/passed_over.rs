//! Records that a reader had to skip, and how it reports them.

use std::collections::BTreeSet;

use antiphon::{
    limits,
    model::{Cursor, LogId},
    wire::{LogRange, Page},
};

use crate::client::RequestError;

/// Records that a reader skipped, as ranges of logs. A log has the records of one writer, and
/// numbers them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PassedOver {
    /// Records that were deleted before they were read, because a limit of the topic said so.
    pub trimmed: Vec<LogRange>,
    /// Records that no node of the network holds any more, because disks failed. Lost records at
    /// the end of a log are not reported.
    pub lost: Vec<LogRange>,
    /// Records whose writer has signed that they exist, and that no node gives which can be asked.
    /// The writer is new to the asked node, or unknown there. Only a read that has an end reports
    /// these, at its end. Ask again later.
    pub withheld: Vec<LogRange>,
}

/// Why something is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Compacted,
    Trimmed,
    Lost,
}

/// What a page says is passed over: log, end, why, and start.
type Told = BTreeSet<(LogId, u64, Why, u64)>;

fn told(page: &Page) -> Told {
    let of = |why| move |range: &LogRange| (range.log, range.to, why, range.from);
    let parts = page.compacted.iter();
    let parts = parts.map(|part| (part.log, part.next, Why::Compacted, part.first));
    let trimmed = page.trimmed.iter().map(of(Why::Trimmed));
    parts.chain(trimmed).chain(page.lost.iter().map(of(Why::Lost))).collect()
}

impl PassedOver {
    /// Adds what another reader passed over, as far as so much is kept.
    pub(in crate::client) fn join(&mut self, other: Self) {
        for (mine, others) in [
            (&mut self.trimmed, other.trimmed),
            (&mut self.lost, other.lost),
            (&mut self.withheld, other.withheld),
        ] {
            mine.extend(others);
            mine.truncate(limits::FRONTIER_LOGS_MAX);
        }
    }

    /// Adds what a page passes over in a log, from where the reader stands up to a batch. Some of
    /// it may be trimmed, and some lost. What was compacted is not reported: newer records have its
    /// place.
    fn add(&mut self, told: &Told, log: LogId, from: u64, to: u64) -> Result<(), RequestError> {
        let mut at = from;
        let of_gap =
            told.range((log, from, Why::Compacted, u64::MAX)..=(log, to, Why::Lost, u64::MAX));
        for (_, end, why, start) in of_gap.copied() {
            if start > at && why == Why::Compacted {
                continue;
            }
            // Of a branch nothing is told before it parts.
            if start > at && at > 0 {
                return Err(RequestError::Mismatch);
            }
            if at < end {
                let passed = LogRange { log, from: at, to: end };
                match why {
                    Why::Trimmed => self.trimmed.push(passed),
                    Why::Lost => self.lost.push(passed),
                    Why::Compacted => {}
                }
                at = end;
            }
        }
        // Whatever node skipped something: nothing is skipped here.
        if at == to { Ok(()) } else { Err(RequestError::Mismatch) }
    }
}

/// Moves a cursor to the end of a page, and records what is passed over before that. Nothing
/// else is skipped: a page that would is an error, and the cursor stays where it is.
pub(in crate::client) fn advance_over(
    cursor: &mut Cursor,
    page: &Page,
    passed_over: &mut PassedOver,
) -> Result<(), RequestError> {
    let (mut at, mut passed) = (cursor.clone(), PassedOver::default());
    let told = told(page);
    for batch in &page.batches {
        let (log, first) = (batch.log(), batch.header().first);
        let next = at.next(&log);
        // A branch begins where it parts, and its first batch shows that it is the first.
        if first > next && !batch.is_root() {
            passed.add(&told, log, next, first)?;
        }
        at.advance(batch);
    }
    *cursor = at;
    passed_over.join(passed);
    Ok(())
}

#[cfg(test)]
mod tests;
