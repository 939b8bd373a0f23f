//! Refusals of what asks too much: they come late, and not all at once.
//!
//! Who asks too much is told so at the next beat, and asks again then. So thousands of refusals may
//! be due at the same moment. Commands for one connection wait in a queue, and the loop of the
//! network waits for room in it. So they are given a few at a time, and others come between.

use std::collections::VecDeque;

use antiphon::wire::Refusal;
use tokio::time::{Interval, MissedTickBehavior};

use super::{
    limits::{REFUSALS_AT_A_TIME, REFUSALS_INTERVAL},
    rpc::ReplyTo,
};

/// Refusals that are held back. There are no more of them than requests under way.
pub(super) struct HeldBack {
    /// Those since the last beat.
    held: Vec<(ReplyTo, Refusal)>,
    /// Those from before it.
    due: VecDeque<(ReplyTo, Refusal)>,
    pace: Interval,
}

impl HeldBack {
    pub(super) fn new() -> Self {
        let mut pace = tokio::time::interval(REFUSALS_INTERVAL);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { held: Vec::new(), due: VecDeque::new(), pace }
    }

    pub(super) fn push(&mut self, reply_to: ReplyTo, refusal: Refusal) {
        self.held.push((reply_to, refusal));
    }

    /// A new beat: what was held until now is due.
    pub(super) fn beat(&mut self) {
        self.due.extend(self.held.drain(..));
    }

    /// The next few that are given; none if none is due. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Vec<(ReplyTo, Refusal)>> {
        if self.due.is_empty() {
            return None;
        }
        self.pace.tick().await;
        let count = self.due.len().min(REFUSALS_AT_A_TIME);
        Some(self.due.drain(..count).collect())
    }
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the clock of the test stands still")]
    #[tokio::test(start_paused = true)]
    async fn refusals_wait_for_the_beat_and_come_a_few_at_a_time() {
        let mut held_back = HeldBack::new();
        let peer = PeerId::random();
        for number in 0..3 * REFUSALS_AT_A_TIME as u64 {
            held_back.push(ReplyTo::sample(peer, number), Refusal::Busy);
        }
        assert_eq!(held_back.next().await, None);
        held_back.beat();
        let began = tokio::time::Instant::now();
        for _ in 0..3 {
            assert_eq!(held_back.next().await.map(|some| some.len()), Some(REFUSALS_AT_A_TIME));
        }
        assert_eq!(began.elapsed(), REFUSALS_INTERVAL * 2);
        assert_eq!(held_back.next().await, None);
    }
}
