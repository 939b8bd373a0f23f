//! The bug that is planted in this run, if the feature `planted-bugs` is on.

pub(crate) use antiphon::engine::planted::{Bug, planted};
