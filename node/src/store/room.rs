//! How much room a store has, as users are told.

use std::{fmt, path::PathBuf};

/// The least disk or quota that leaves a node room for records, in bytes.
pub(crate) const DISK_BYTES_MIN: u64 = 128 * 1024 * 1024;

/// Bytes that are free when room becomes scarce; a tenth of a small disk. Well again is twice as
/// much.
const SCARCE_BYTES: u64 = 512 * 1024 * 1024;

/// Whether there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// There is plenty.
    Well,
    /// There is little left.
    Low,
    /// There is none for records.
    Full,
}

/// The room that a store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) level: Level,
    /// The directory whose disk it is.
    pub(crate) path: PathBuf,
    /// Whether the quota is the limit, and not the disk.
    pub(crate) is_quota: bool,
    /// Bytes that are free.
    pub(crate) free: u64,
    /// Bytes that must be free for records to be taken in.
    pub(crate) needed: u64,
    /// Bytes of the whole disk or quota.
    pub(crate) total: u64,
}

impl Room {
    /// As much as anybody can want.
    pub(crate) fn ample() -> Self {
        let (free, total) = (u64::MAX, u64::MAX);
        Self { level: Level::Well, path: PathBuf::new(), is_quota: false, free, needed: 0, total }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.level == Level::Full
    }

    /// The level, as far as free space decides.
    pub(super) fn level_of(free: u64, total: u64, before: Level) -> Level {
        let scarce = SCARCE_BYTES.min(total / 10);
        let limit = if before == Level::Well { scarce } else { scarce.saturating_mul(2) };
        if free < limit { Level::Low } else { Level::Well }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, path, is_quota, free, needed, total } = self;
        let (what, path) = (if *is_quota { "quota" } else { "disk" }, path.display());
        let (free, needed, total) = (megabytes(*free), megabytes(*needed), *total);
        match (level, is_quota) {
            (Level::Well, _) => write!(formatter, "the {what} of {path} has {free} free"),
            (Level::Low, _) => write!(formatter, "the {what} of {path} is low: {free} free"),
            (Level::Full, true) => {
                write!(formatter, "the quota of {path} is used up: {free} free, {needed} needed")
            }
            (Level::Full, false) => {
                write!(formatter, "the disk of {path} is full: {free} free, {needed} needed")
            }
        }?;
        if self.is_full() && total < DISK_BYTES_MIN {
            let (total, least) = (megabytes(total), megabytes(DISK_BYTES_MIN));
            write!(formatter, "; the {what} has {total}, and a node needs at least {least}")?;
        }
        Ok(())
    }
}

fn megabytes(bytes: u64) -> String {
    let (whole, tenths) = (bytes / 1_000_000, bytes / 100_000 % 10);
    match whole {
        10_000.. => format!("{} GB", whole / 1_000),
        // What is free and what is needed may differ by little.
        ..100 if tenths > 0 => format!("{whole}.{tenths} MB"),
        _ => format!("{whole} MB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_told_with_the_path_and_the_bytes() {
        let room = |level, is_quota, total| Room {
            level,
            path: "/d1".into(),
            is_quota,
            free: 8_100_000,
            needed: 33_600_000,
            total,
        };
        let full = room(Level::Full, false, 200_000_000);
        assert_eq!(full.to_string(), "the disk of /d1 is full: 8.1 MB free, 33.6 MB needed");
        let quota = room(Level::Full, true, 200_000_000);
        assert_eq!(quota.to_string(), "the quota of /d1 is used up: 8.1 MB free, 33.6 MB needed");
        let low = room(Level::Low, false, 40_000_000);
        assert_eq!(low.to_string(), "the disk of /d1 is low: 8.1 MB free");
        let small = room(Level::Full, false, 40_000_000).to_string();
        assert!(
            small.ends_with("; the disk has 40 MB, and a node needs at least 134 MB"),
            "{small}"
        );
    }

    #[test]
    fn room_is_well_again_with_twice_of_what_is_scarce() {
        let level = |free, before| Room::level_of(free, 1_000, before);
        assert_eq!(level(101, Level::Well), Level::Well);
        assert_eq!(level(99, Level::Well), Level::Low);
        assert_eq!(level(199, Level::Low), Level::Low);
        assert_eq!(level(201, Level::Low), Level::Well);
        assert_eq!(level(199, Level::Full), Level::Low);
    }
}
