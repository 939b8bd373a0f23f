//! The order in which readers are shown batches, and how the pages of several sources are merged
//! into it.

use crate::{
    engine::holdings::early::Early,
    model::{Batch, Compacted, LogId, Stamp},
    wire::{LogRange, Page},
};

/// The order of batches: by stamp, then writer; within a log by number. What is stamped in the
/// future comes first.
pub(in crate::engine) fn by_stamp(early: &Early) -> impl Fn(&Batch) -> (Stamp, LogId, u64) {
    |batch| {
        let (header, log) = (batch.header(), batch.log());
        (early.order(&log, header.first, header.stamp), log, header.first)
    }
}

/// Whether a page is what was asked for: batches of these ranges, each log's without a hole.
pub(in crate::engine) fn answers(page: &Page, ranges: &[LogRange]) -> bool {
    let mut ranges = ranges.to_vec();
    let parts = Compacted::by_end(&page.compacted);
    page.batches.iter().all(|batch| {
        let header = batch.header();
        if let Some(part) = parts.get(&(batch.log(), header.first)) {
            for range in ranges.iter_mut().filter(|range| part.covers(&range.log, range.from)) {
                range.from = part.next;
            }
        }
        let next = |range: &&mut LogRange| {
            range.log == batch.log() && header.first <= range.from && range.from < header.next()
        };
        match ranges.iter_mut().find(next) {
            Some(range) => {
                range.from = header.next();
                true
            }
            None => false,
        }
    })
}

/// Merges what several sources gave in this order, up to `bytes_max`. Where a source has more that
/// is not here yet, the merge ends with its last batch, for what follows there may come before what
/// others gave. Whether all of it is merged.
pub(in crate::engine) fn merge<K: Ord>(
    pages: Vec<Page>,
    order: impl Fn(&Batch) -> K,
    bytes_max: usize,
) -> (Vec<Batch>, bool) {
    let mut pages: Vec<_> = pages
        .into_iter()
        .map(|page| (page.batches.into_iter().peekable(), page.finished))
        .collect();
    let mut merged: Vec<Batch> = Vec::new();
    let mut bytes = 0;
    loop {
        let dry = pages.iter_mut().any(|(rest, all)| !*all && rest.peek().is_none());
        if !merged.is_empty() && dry {
            return (merged, false);
        }
        let heads = pages.iter_mut().enumerate();
        let heads = heads.filter_map(|(index, (rest, _))| rest.peek().map(|b| (order(b), index)));
        let Some((_, index)) = heads.min() else {
            break;
        };
        let Some(batch) = pages.get_mut(index).and_then(|(rest, _)| rest.next()) else {
            break;
        };
        bytes += batch.bytes().len();
        if !merged.is_empty() && bytes > bytes_max {
            return (merged, false);
        }
        merged.push(batch);
    }
    let finished = pages.iter().all(|(_, all)| *all);
    (merged, finished)
}
