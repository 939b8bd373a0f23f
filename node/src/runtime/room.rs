//! What a node says of the room on its disk: few lines, also where it comes and goes.

use std::time::Duration;

use crate::store::{Level, Room};

/// Shortest time from one line about a full disk to the next. Where compaction makes a little room
/// again and again, once is enough.
const FULL_INTERVAL: Duration = Duration::from_mins(1);

/// What was said.
#[derive(Debug)]
pub(super) struct RoomNotices {
    level: Level,
    /// When it was said last that there is none.
    full_at: Option<Duration>,
}

impl Default for RoomNotices {
    fn default() -> Self {
        Self { level: Level::Well, full_at: None }
    }
}

impl RoomNotices {
    /// The news, unless it was said before.
    pub(super) fn news(&mut self, room: &Room, now: Duration) -> Option<String> {
        if room.level == self.level {
            return None;
        }
        let is_late = |at| now.saturating_sub(at) >= FULL_INTERVAL;
        let text = match (self.level, room.level) {
            (_, Level::Full) if !self.full_at.is_none_or(is_late) => return None,
            (_, Level::Full) => {
                self.full_at = Some(now);
                format!("{room}; records are refused until there is space")
            }
            (Level::Full, _) => format!("{room}; records are taken again"),
            (_, Level::Low) => room.to_string(),
            (_, Level::Well) => format!("{room}, which is enough again"),
        };
        self.level = room.level;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_said_once_and_a_full_disk_once_a_minute() {
        let mut notices = RoomNotices::default();
        let mut news = |level, seconds| {
            let free = 1_000_000 * seconds;
            let room = Room { level, path: "/d".into(), free, ..Room::ample() };
            notices.news(&room, Duration::from_secs(seconds))
        };
        assert_eq!(news(Level::Well, 1), None);
        assert_eq!(news(Level::Low, 2).unwrap(), "the disk of /d is low: 2 MB free");
        assert_eq!(news(Level::Low, 3), None);
        assert!(
            news(Level::Full, 4).unwrap().ends_with("; records are refused until there is space")
        );
        assert_eq!(news(Level::Full, 5), None);
        assert!(news(Level::Low, 6).unwrap().ends_with("6 MB free; records are taken again"));
        // It comes and goes.
        for seconds in 7..64 {
            assert_eq!(
                news(if seconds % 2 == 0 { Level::Low } else { Level::Full }, seconds),
                None
            );
        }
        assert!(news(Level::Full, 64).is_some());
        assert!(news(Level::Well, 65).unwrap().ends_with("taken again"));
        assert!(news(Level::Low, 66).is_some());
        assert!(news(Level::Well, 67).unwrap().ends_with("67 MB free, which is enough again"));
    }
}
