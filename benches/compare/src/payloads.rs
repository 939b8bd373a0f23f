//! What the records hold.

use bytes::Bytes;

/// More than compression looks back, and than an ordinary batch has.
const NOISE_BYTES: usize = 1024 * 1024;

/// Payloads of noise, so that nothing is gained by compression, as `antiphon bench` has them.
#[derive(Debug)]
pub(crate) struct Payloads {
    noise: Bytes,
    size: usize,
}

impl Payloads {
    pub(crate) fn new(size: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        // So that the last start has enough behind it.
        Self { noise: (0..NOISE_BYTES + size).map(|_| random.u8(..)).collect(), size }
    }

    /// The payload of this record; no byte is copied.
    pub(crate) fn make(&self, number: usize) -> Bytes {
        let start = number * self.size % NOISE_BYTES;
        self.noise.slice(start..start + self.size)
    }
}
