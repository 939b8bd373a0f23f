//! What must always hold: one file for each sentence. Ids are those of the design notes.

pub(crate) mod admitted;
pub(crate) mod answers;
pub(crate) mod bounds;
pub(crate) mod closures;
pub(crate) mod compaction;
pub(crate) mod complete_survey;
pub(crate) mod convergence;
pub(crate) mod cursors;
pub(crate) mod forks;
pub(crate) mod groups;
pub(crate) mod no_gap;
pub(crate) mod no_phantom;
pub(crate) mod once;
pub(crate) mod one_position;
pub(crate) mod outbox;
pub(crate) mod put_out;
pub(crate) mod readable;
pub(crate) mod removal;
pub(crate) mod retention;
pub(crate) mod rosters;
pub(crate) mod statements;
pub(crate) mod strangers;
pub(crate) mod survival;
pub(crate) mod truth;
pub(crate) mod unmoved;
pub(crate) mod writer_order;

use std::time::Duration;

/// Something that must never be, and is.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) reason: String,
    pub(crate) at: Duration,
}
