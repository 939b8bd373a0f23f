//! How long a client's link waits for what: every time limit, with its reason, and the two
//! measures that keep a busy machine from being taken for a broken one.
//!
//! Two things are told apart. A *silent* node gives no sign of life at all: whatever it was
//! asked is asked of another one. A node that is *late* with a publish is alive: it may wait for
//! copies, its disk may hang, it may be cut off from all others. The publish is then sent to
//! another node *as well*, and the first success counts; the late node is not left, so its
//! answer is never lost. Records keep their names, so a second copy is recognised.

use std::time::Duration;

/// How often a node is pinged. Half of [`SILENCE_MAX`]: a ping always has that much time to be
/// answered. An idle client costs its node two small frames a second.
pub(super) const PING_INTERVAL: Duration = Duration::from_millis(500);

/// Time for a pong. libp2p keeps the first missing one of a row to itself, so a connection whose
/// node does not answer is closed after three of these; what was asked there has gone to another
/// node long before, if one is known. Where none is, waiting is all there is to do.
pub(super) const PONG_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Without a byte for this long a node is silent. On a machine that does nothing else a pong
/// takes less than a millisecond; with all cores taken, tens of them. A node that was silent and
/// speaks again has lost nothing: it is still connected.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Time before the next node is dialled while the one before has not answered: the pace of
/// RFC 8305. The earlier dial goes on, so a slow node loses nothing by it.
pub(super) const DIAL_PACE: Duration = Duration::from_millis(250);

/// Time for one node to be connected. The kernel of a stopped process accepts connections, so
/// the handshake has to be waited for; other nodes are dialled meanwhile.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause before a node is dialled again that could not be connected or was lost, and before nodes
/// are looked for again, where none is connected.
pub(super) const REDIAL_PAUSE: Duration = Duration::from_millis(250);

/// The same where one is connected, and the other is only to go on with.
pub(super) const SPARE_REDIAL_PAUSE: Duration = Duration::from_secs(2);

/// How often the LAN is searched for nodes. Nodes answer a question and do not announce themselves,
/// so one that is started later is found by the next question. A client whose node is on its own
/// machine asks none.
pub(super) const LAN_QUERY_INTERVAL: Duration = Duration::from_secs(2);

/// When this process itself comes so late to what was due, it was stopped or starved: the nodes
/// are not silent, they were not listened to.
pub(super) const OVERSLEPT: Duration = Duration::from_millis(250);

/// Age at which a link asks its node for other nodes and connects to a second one. A command that
/// publishes a record and ends is over before.
pub(super) const ACQUAINT_AFTER: Duration = Duration::from_millis(200);

/// How often it asks again: the network may have changed.
pub(super) const ACQUAINT_INTERVAL: Duration = Duration::from_mins(1);

/// How soon it asks again while it knows no other node: the node may have been silent, or may have
/// taken the others for dead. Without another node the link ends with its own.
pub(super) const ACQUAINT_RETRY: Duration = Duration::from_secs(2);

/// What is left of its time for a publish that is sent again, at least. Shorter would make every
/// answer `pending`.
pub(super) const TIME_LEFT_MIN: Duration = Duration::from_secs(1);

/// Shortest time after which a publish is late: more than a flush and two turns of a busy
/// scheduler, and short enough that a publisher resumes within 0.2 s.
const LATE_AFTER_MIN: Duration = Duration::from_millis(100);

/// Longest time after which a publish is late.
const LATE_AFTER_MAX: Duration = Duration::from_secs(1);

/// Time after which it is late while none was measured.
const LATE_AFTER_UNMEASURED: Duration = Duration::from_millis(500);

/// Second copies cost a tenth of the load at most: each costs as much as this many publishes
/// that were answered at one node earn. When all nodes are overloaded all publishes are late,
/// and sending them twice would make it worse.
const COPY_COST: u32 = 10;

/// Second copies that can be saved up.
const COPIES_SAVED_MAX: u32 = 5;

/// When a publish is late, and whether it may be sent a second time.
///
/// *Late* is measured as TCP measures when to send again (RFC 6298): the usual time and four
/// times its usual deviation. So a node that is always slow is never late.
#[derive(Debug)]
pub(super) struct Patience {
    usual: Option<Usual>,
    savings: u32,
}

#[derive(Debug, Clone, Copy)]
struct Usual {
    time: Duration,
    deviation: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { usual: None, savings: COPY_COST * COPIES_SAVED_MAX }
    }

    /// Time after which a publish is late.
    pub(super) fn late_after(&self) -> Duration {
        self.usual.map_or(LATE_AFTER_UNMEASURED, |usual| {
            (usual.time + 4 * usual.deviation).clamp(LATE_AFTER_MIN, LATE_AFTER_MAX)
        })
    }

    /// A node acknowledged a publish after this time.
    pub(super) fn measured(&mut self, time: Duration) {
        // A publish that takes seconds says no more than one that takes the longest.
        let time = time.min(LATE_AFTER_MAX);
        self.usual = Some(match self.usual {
            None => Usual { time, deviation: time / 2 },
            Some(usual) => Usual {
                time: (usual.time * 7 + time) / 8,
                deviation: (usual.deviation * 3 + usual.time.abs_diff(time)) / 4,
            },
        });
    }

    /// A publish was answered without a second copy.
    pub(super) fn earn(&mut self) {
        self.savings = (self.savings + 1).min(COPY_COST * COPIES_SAVED_MAX);
    }

    /// Whether a publish that is late may be sent to another node as well; it is paid for.
    pub(super) fn spend(&mut self) -> bool {
        let left = self.savings.checked_sub(COPY_COST);
        self.savings = left.unwrap_or(self.savings);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn late_is_what_is_unusual() {
        let mut patience = Patience::new();
        assert_eq!(patience.late_after(), LATE_AFTER_UNMEASURED);
        (0..50).for_each(|_| patience.measured(milliseconds(1)));
        assert_eq!(patience.late_after(), LATE_AFTER_MIN);
        // One that took long makes the next ones wait longer; a node that is always slow is
        // waited for.
        patience.measured(milliseconds(300));
        assert!(patience.late_after() > milliseconds(300), "{patience:?}");
        (0..50).for_each(|_| patience.measured(milliseconds(400)));
        assert!(patience.late_after() > milliseconds(400), "{patience:?}");
        (0..50).for_each(|_| patience.measured(Duration::from_secs(8)));
        assert_eq!(patience.late_after(), LATE_AFTER_MAX);
        (0..50).for_each(|_| patience.measured(milliseconds(1)));
        assert_eq!(patience.late_after(), LATE_AFTER_MIN);
    }

    #[test]
    fn second_copies_are_paid_for() {
        let mut patience = Patience::new();
        let spent = (0..100).filter(|_| patience.spend()).count();
        assert_eq!(spent, 5);
        (0..9).for_each(|_| patience.earn());
        assert!(!patience.spend());
        patience.earn();
        assert!(patience.spend());
        assert!(!patience.spend());
    }
}
