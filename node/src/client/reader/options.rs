//! What of a topic is read.

use antiphon::model::{Cursor, NodeId, Record, WallClock};
use bytes::Bytes;
use std::time::SystemTime;

/// Where a reader starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest record that is still there.
    #[default]
    Beginning,
    /// After the newest record.
    End,
    /// At the last so many records before the end, of those that are wanted.
    Last(u64),
    /// At the first record that was published at this time or later.
    Since(SystemTime),
    /// At a position.
    At(Cursor),
}

/// Where a reader ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum End {
    /// At the end of what was stored when it was started.
    #[default]
    Stored,
    /// Nowhere: live records follow the stored ones.
    Never,
    /// At a position. Of a named subscription, which goes on there, nothing is passed over.
    At(Cursor),
    /// At the end of what was stored; records that were published at this time or later are left
    /// out.
    Before(SystemTime),
    /// Before the last so many of what was stored.
    BeforeLast(u64),
}

/// How a topic is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReaderOptions {
    /// Where to start.
    pub start: Start,
    /// Where to end.
    pub end: End,
    /// Read records with this key only.
    pub key: Option<Bytes>,
    /// Read records only that this node has signed.
    pub writer: Option<NodeId>,
}

impl ReaderOptions {
    /// From the oldest record on, and then those to come.
    #[must_use]
    pub fn follow() -> Self {
        Self { end: End::Never, ..Self::default() }
    }

    /// Whether all records are wanted, up to the end.
    pub(super) fn is_whole(&self) -> bool {
        let ends = matches!(self.end, End::Stored | End::Never);
        ends && self.key.is_none() && self.writer.is_none()
    }

    pub(in crate::client) fn wants(&self, record: &Record) -> bool {
        let since = match self.start {
            Start::Since(time) => time.into(),
            _ => WallClock::default(),
        };
        let is_before = match self.end {
            End::Before(time) => record.time < time.into(),
            _ => true,
        };
        let has_key = self.key.as_ref().is_none_or(|key| record.key.as_ref() == Some(key));
        record.time >= since && is_before && has_key
    }
}
