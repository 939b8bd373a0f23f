//! What must hold between any two inputs.
//!
//! Each part of the engine says what must hold of its own state. A broken one is a mistake in this
//! program, never the fault of remote bytes, so it is an assertion. Debug builds, tests and the
//! simulation check after every input; release builds do not.

use super::Engine;

/// How many inputs pass, on average, between two checks of what a topic holds: they are costly.
const TOPIC_EVERY: u128 = 16;

/// Reads under way beyond which they are checked as seldom as topics. A debug build with thousands
/// of them would do little else.
const READS_MAX: usize = 64;

impl Engine {
    /// Asserts that the state agrees with itself.
    pub(super) fn check(&self) {
        assert!(self.core.durable <= self.core.written, "more is flushed than was written");
        self.core.asks.check();
        self.surveys.check();
        self.publish.check();
        self.subscriptions.groups.check(&self.read);
        self.forks.check(&self.core.topics);
        // One topic at a time, and which one depends on nothing but the time.
        let turn = self.core.now.elapsed.as_micros();
        if self.read.jobs.len() <= READS_MAX || turn.is_multiple_of(TOPIC_EVERY) {
            self.read.check();
        }
        let topics = self.core.topics.iter().count() as u128;
        if topics > 0 && turn.is_multiple_of(TOPIC_EVERY) {
            let index = turn / TOPIC_EVERY % topics;
            for (_, topic) in (0..).zip(self.core.topics.iter()).filter(|(at, _)| *at == index) {
                topic.check();
            }
        }
    }
}
