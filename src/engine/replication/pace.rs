//! How soon a home replica is brought more of what it says that it lacks.
//!
//! A home replica may give a receipt for a page, and say afterwards that it lacks what was in it:
//! its disk is full or has lost the page, or it lies. A page is megabytes, and to say that it is
//! lacking costs nothing. So the next page waits until the home replica shows what it was brought,
//! or for a pause that doubles. When the pause is at its longest, the operator is told once.

use std::time::Duration;

use crate::{
    limits::{HANDOVER_INTERVAL, HANDOVER_PAUSE_MAX},
    wire::{LogRange, Page},
};

/// What one home replica was brought of one topic.
#[derive(Debug)]
pub(in crate::engine) struct Pace {
    /// Records that it lacked when it was last brought some, and what this node then held.
    lacked: u64,
    held: u64,
    /// Records that it was brought then; none while they are read.
    brought: Option<u64>,
    pause: Duration,
    next: Duration,
    /// Whether the operator was told that it shows nothing.
    is_told: bool,
}

impl Pace {
    /// Before anything was brought.
    pub(in crate::engine) fn new() -> Self {
        let (pause, next) = (HANDOVER_INTERVAL, Duration::ZERO);
        Self { lacked: 0, held: 0, brought: Some(0), pause, next, is_told: false }
    }

    /// Whether it is brought a page now, where it says that it lacks some records of those that
    /// this node holds.
    pub(in crate::engine) fn may_bring(&mut self, now: Duration, lacks: u64, holds: u64) -> bool {
        let Some(brought) = self.brought else {
            return false;
        };
        // It may lack what has come here since. Half of what it was brought may be under way.
        let grown = holds.saturating_sub(self.held);
        let has_shown = lacks + brought.div_ceil(2) <= self.lacked + grown;
        if has_shown {
            self.pause = HANDOVER_INTERVAL;
            self.is_told = false;
        } else if now < self.next {
            return false;
        } else if brought > 0 {
            self.pause = (self.pause * 2).min(HANDOVER_PAUSE_MAX);
        }
        *self = Self { lacked: lacks, held: holds, brought: None, ..*self };
        true
    }

    /// Whether the operator must be told now that it does not show what it is brought.
    pub(in crate::engine) fn is_news(&mut self) -> bool {
        self.pause == HANDOVER_PAUSE_MAX && !std::mem::replace(&mut self.is_told, true)
    }

    /// A page was read for it, and is sent.
    pub(in crate::engine) fn on_brought(&mut self, now: Duration, page: &Page) {
        let batches = page.batches.iter().map(|batch| u64::from(batch.header().count));
        let parts = page.compacted.iter().map(|part| part.next - part.first);
        self.brought = Some(batches.sum::<u64>() + parts.sum::<u64>());
        self.next = now + self.pause;
    }
}

/// Records in these parts of logs.
pub(in crate::engine) fn records_of(parts: &[LogRange]) -> u64 {
    parts.iter().map(|part| part.to - part.from).sum()
}
