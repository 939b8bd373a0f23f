//! What happened, as a hash that says whether two runs were the same, and as text on demand.

use std::time::Duration;

/// What happened.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    verbose: bool,
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, verbose }
    }

    /// Mixes numbers that name what happens into the hash.
    pub(crate) fn mix(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.hash = (self.hash ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }

    /// One line of text, made only where somebody reads it.
    pub(crate) fn note(&self, now: Duration, text: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{:>10.4} {}", now.as_secs_f64(), text());
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}
