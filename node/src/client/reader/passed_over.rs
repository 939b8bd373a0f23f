//! What a reader is led past, and told of.

use antiphon::{
    limits,
    model::{Cursor, LogId},
    wire::{LogRange, Page},
};

use crate::client::RequestError;

/// What a reader passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PassedOver {
    /// What the topic's retention let go.
    pub trimmed: Vec<LogRange>,
    /// What every node of the network said that it does not hold: the disks that did are lost.
    pub lost: Vec<LogRange>,
}

/// Why something is passed over.
#[derive(Debug, Clone, Copy)]
enum Why {
    Trimmed,
    Lost,
    Compacted,
}

impl PassedOver {
    /// Adds what another reader passed over, as far as so much is kept.
    pub(in crate::client) fn join(&mut self, other: Self) {
        for (mine, others) in [(&mut self.trimmed, other.trimmed), (&mut self.lost, other.lost)] {
            mine.extend(others);
            mine.truncate(limits::FRONTIER_LOGS_MAX);
        }
    }

    /// Adds what a page passes over in a log, from where the reader stands up to a batch: some of it
    /// may be let go, and some lost. Of what was compacted nobody is told: newer records have its
    /// place.
    fn add(&mut self, page: &Page, log: LogId, from: u64, to: u64) -> Result<(), RequestError> {
        let trimmed = page.trimmed.iter().map(|range| (*range, Why::Trimmed));
        let lost = page.lost.iter().map(|range| (*range, Why::Lost));
        let compacted = page.compacted.iter().map(|part| {
            (LogRange { log: part.log, from: part.first, to: part.next }, Why::Compacted)
        });
        let of_gap =
            |(range, _): &(LogRange, Why)| range.log == log && from < range.to && range.to <= to;
        let mut told: Vec<_> = trimmed.chain(lost).chain(compacted).filter(of_gap).collect();
        told.sort_by_key(|(range, _)| range.to);
        let mut at = from;
        for (range, why) in told {
            if range.from > at && matches!(why, Why::Compacted) {
                continue;
            }
            // Of a branch nothing is told before it parts.
            if range.from > at && at > 0 {
                return Err(RequestError::Mismatch);
            }
            if at < range.to {
                let passed = LogRange { log, from: at, to: range.to };
                match why {
                    Why::Trimmed => self.trimmed.push(passed),
                    Why::Lost => self.lost.push(passed),
                    Why::Compacted => {}
                }
                at = range.to;
            }
        }
        // Whatever node skipped something: nothing is skipped here.
        if at == to { Ok(()) } else { Err(RequestError::Mismatch) }
    }
}

/// Moves a cursor to the end of a page, and takes note of what is passed over before that. Nothing
/// else is skipped: a page that would is an error, and the cursor stays where it is.
pub(in crate::client) fn advance_over(
    cursor: &mut Cursor,
    page: &Page,
    passed_over: &mut PassedOver,
) -> Result<(), RequestError> {
    let (mut at, mut passed) = (cursor.clone(), PassedOver::default());
    for batch in &page.batches {
        let (log, first) = (batch.log(), batch.header().first);
        let next = at.next(&log);
        // A branch begins where it parts, and its first batch shows that it is the first.
        if first > next && !batch.is_root() {
            passed.add(page, log, next, first)?;
        }
        at.advance(batch);
    }
    *cursor = at;
    passed_over.join(passed);
    Ok(())
}

#[cfg(test)]
mod tests;
