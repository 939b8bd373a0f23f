//! What the member table has of one node.

use std::time::Duration;

use crate::{
    limits::{
        ACQUAINTED_AFTER, ADDRESS_BYTES_MAX, ADDRESSES_MAX, DEAD_AFTER, RECONNECT_WITHIN,
        SUSPECT_AFTER,
    },
    wire::{Address, MemberState},
};

/// First pause before a node is dialled again; doubles up to [`DIAL_PAUSE_MAX`].
const DIAL_PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause before a node is dialled again.
const DIAL_PAUSE_MAX: Duration = Duration::from_secs(15);
/// What is known of another node.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Member {
    pub(in crate::engine) state: MemberState,
    pub(in crate::engine) addresses: Vec<Address>,
    pub(in crate::engine) round_trip: Option<Duration>,
    /// The version of its program, as it said when it came last.
    pub(in crate::engine) program: Option<String>,
    pub(in crate::engine) connected: bool,
    /// Whether it stores what it is sent: its disk may be full, or hang, while it answers pings.
    pub(in crate::engine) able: bool,
    /// Until when it is leaving, by what it said: nothing is placed there.
    pub(super) leaving_until: Option<Duration>,
    /// Whether it has left: it holds nothing, and is forgotten when it goes.
    pub(super) left: bool,
    /// Whether it said that it was stopping, and has not come back. It counts as any node that is
    /// away.
    pub(super) stopped: bool,
    /// Whether another node said, since it is away, that it will not come back.
    pub(super) said_lost: bool,
    /// Of a newcomer, since when it is there; while it is away, since when it was.
    pub(super) new_since: Option<Duration>,
    /// Whether it has said if it is new, since it came last.
    pub(super) told: bool,
    /// For how long it was connected with this node before it connected last.
    pub(super) acquainted: Duration,
    /// The same, as the store has it.
    pub(super) acquainted_kept: Duration,
    /// Proofs of possession in a row that it has failed.
    pub(super) unproven: u8,
    /// Since when it says that it knows other nodes than this one, and when it last said so.
    pub(super) odd: Option<(Duration, Duration)>,
    /// Since when it was asked for proofs of possession and gave none, be it a false one.
    pub(super) silent_since: Option<Duration>,
    pub(super) heard: Duration,
    /// When its last connection closed; while it is connected, when that began.
    pub(super) changed: Duration,
    pub(super) dial: DialPlan,
}

/// When an unconnected node is dialled.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DialPlan {
    pub(super) at: Duration,
    pause: Duration,
    pub(super) tries: u32,
}

impl DialPlan {
    /// Whether it is time to dial it.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.at <= now
    }

    /// Whether it is dialled now; then the next time is later.
    pub(super) fn due(&mut self, now: Duration) -> bool {
        let due = self.at <= now;
        if due {
            self.pause = (self.pause * 2).clamp(DIAL_PAUSE_MIN, DIAL_PAUSE_MAX);
            self.at = now + self.pause;
            self.tries = self.tries.saturating_add(1);
        }
        due
    }
}

impl Member {
    pub(super) fn new(now: Duration, state: MemberState) -> Self {
        Self {
            state,
            addresses: Vec::new(),
            round_trip: None,
            program: None,
            connected: false,
            able: true,
            leaving_until: None,
            left: false,
            stopped: false,
            said_lost: false,
            new_since: None,
            told: false,
            acquainted: Duration::ZERO,
            acquainted_kept: Duration::ZERO,
            unproven: 0,
            odd: None,
            silent_since: None,
            heard: now,
            changed: now,
            dial: DialPlan::default(),
        }
    }

    /// For how long it has been connected with this node, in all.
    pub(in crate::engine) fn acquainted_at(&self, now: Duration) -> Duration {
        let since = if self.connected { now.saturating_sub(self.changed) } else { Duration::ZERO };
        self.acquainted.saturating_add(since)
    }

    /// Whether it was connected for so long that it is no mere visitor.
    pub(super) fn has_stayed(&self, now: Duration) -> bool {
        self.acquainted_at(now) >= ACQUAINTED_AFTER
    }

    /// Whether it said that it was stopping, and is away since.
    pub(in crate::engine) fn has_stopped(&self) -> bool {
        self.stopped && !self.connected
    }

    /// The state that its silence gives it at least.
    pub(super) fn state_at(&self, now: Duration, gone_after: Duration) -> MemberState {
        let (silence, dead_after) = if self.connected {
            (now.saturating_sub(self.heard), DEAD_AFTER)
        } else {
            (now.saturating_sub(self.changed), RECONNECT_WITHIN)
        };
        if silence >= gone_after {
            MemberState::Gone
        } else if silence >= dead_after {
            MemberState::Dead
        } else if silence >= SUSPECT_AFTER || !self.connected {
            MemberState::Suspect
        } else {
            MemberState::Alive
        }
    }
}

/// As many addresses as are kept, each once.
pub(super) fn bounded(addresses: Vec<Address>) -> Vec<Address> {
    let mut kept: Vec<Address> = Vec::new();
    for address in addresses {
        let fits = kept.len() < ADDRESSES_MAX && address.len() <= ADDRESS_BYTES_MAX;
        if fits && !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept
}
