//! The one source of every choice: bytes, of a seed or given by a fuzzer.
//!
//! A byte of zero always chooses the quiet way (no fault, the first of several, the shortest
//! time), so that bytes that have run out end a run quietly.

use std::{collections::VecDeque, time::Duration};

/// Where choices come from.
#[derive(Debug)]
pub(crate) struct Choices {
    source: Source,
    drawn: u64,
}

#[derive(Debug)]
enum Source {
    Seed(fastrand::Rng),
    Bytes(VecDeque<u8>),
}

impl Choices {
    /// The choices of a seed.
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self { source: Source::Seed(fastrand::Rng::with_seed(seed)), drawn: 0 }
    }

    /// The choices that these bytes make; zeros follow.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self { source: Source::Bytes(bytes.iter().copied().collect()), drawn: 0 }
    }

    /// Bytes drawn so far.
    pub(crate) fn drawn(&self) -> u64 {
        self.drawn
    }

    fn byte(&mut self) -> u8 {
        self.drawn += 1;
        match &mut self.source {
            Source::Seed(random) => random.u8(..),
            Source::Bytes(bytes) => bytes.pop_front().unwrap_or(0),
        }
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let mut number = 0;
        let mut range: u64 = 1;
        while range < bound {
            number = number << 8 | u64::from(self.byte());
            range = range.saturating_mul(256);
        }
        number % bound
    }

    /// An index into `length` things, which are not none.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("an index fits")
    }

    /// Whether something happens that does so `per_mille` times of a thousand.
    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1_000) >= 1_000 - u64::from(per_mille.min(1_000))
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.index(things.len())]
    }

    /// A time between two, in microseconds.
    pub(crate) fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let range = most.saturating_sub(least).as_micros();
        let range = u64::try_from(range).expect("a short time");
        // Two bytes are fine enough, and cost little.
        least + Duration::from_micros(range * self.below(65_536) / 65_536)
    }
}
