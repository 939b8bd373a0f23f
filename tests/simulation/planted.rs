//! The bug that is planted in this run, if the feature `planted-bugs` is on.

#[cfg(feature = "planted-bugs")]
pub(crate) use antiphon::engine::{Bug, planted};

/// The bugs that the world itself plays; without the feature there are none.
#[cfg(not(feature = "planted-bugs"))]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bug {
    SequenceReused,
    TruncatedAtDamage,
}

#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}
