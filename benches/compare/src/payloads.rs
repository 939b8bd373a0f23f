//! What the records hold.

use bytes::Bytes;

/// Different starts in the noise, so that one record is not like the next.
const STARTS: usize = 4096;

/// Payloads of noise, so that nothing is gained by compression, as `antiphon bench` has them.
#[derive(Debug)]
pub(crate) struct Payloads {
    noise: Bytes,
    size: usize,
}

impl Payloads {
    pub(crate) fn new(size: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        Self { noise: (0..size + STARTS).map(|_| random.u8(..)).collect(), size }
    }

    /// The payload of this record; no byte is copied.
    pub(crate) fn make(&self, number: usize) -> Bytes {
        let start = number % STARTS;
        self.noise.slice(start..start + self.size)
    }
}
