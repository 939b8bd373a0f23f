//! What the records hold.

use std::{path::Path, time::Duration};

use bytes::Bytes;

use crate::exit::Failure;

/// Bytes of noise: more than compression looks back, and than an ordinary batch has.
const NOISE_BYTES: usize = 1024 * 1024;

/// Bytes of a file that are used.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Makes payloads: when the record was due, in nanoseconds after the start, and then noise, so
/// that nothing is gained by compression, or what a file holds. Cloning it copies a pointer.
#[derive(Debug, Clone)]
pub(super) struct Payloads {
    filling: Bytes,
}

impl Payloads {
    pub(super) fn noise() -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        Self { filling: (0..NOISE_BYTES).map(|_| random.u8(..)).collect() }
    }

    /// Of a file's bytes, one part after the other, and then from its start again.
    pub(super) fn from_file(path: &Path) -> anyhow::Result<Self> {
        let mut filling = fs_err::read(path)?;
        filling.truncate(FILE_BYTES_MAX);
        if filling.is_empty() {
            let failure = Failure::failed(format!("`{}` is empty", path.display()));
            return Err(failure.with_hint("name a file with what your records hold").into());
        }
        Ok(Self { filling: filling.into() })
    }

    /// Text, for the command line: as well to be compressed as the rest or as badly.
    pub(super) fn text(&self, size: u32) -> String {
        let bytes = self.make(1, size, Duration::ZERO);
        let printable =
            |byte: &u8| char::from(if byte.is_ascii_graphic() { *byte } else { b'a' + byte % 26 });
        bytes.iter().map(printable).collect()
    }

    pub(super) fn make(&self, number: u64, size: u32, due: Duration) -> Bytes {
        let size = size as usize;
        let mut payload = Vec::with_capacity(size);
        let due = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
        payload.extend_from_slice(&due.to_be_bytes());
        let at = u128::from(number) * size as u128 % self.filling.len() as u128;
        let mut at = usize::try_from(at).expect("it is below a length");
        while payload.len() < size {
            let part = &self.filling[at..];
            payload.extend_from_slice(&part[..part.len().min(size - payload.len())]);
            at = 0;
        }
        payload.into()
    }
}

/// When the record with this payload was due, after the start.
pub(super) fn due(payload: &[u8]) -> Option<Duration> {
    payload.first_chunk().map(|bytes| Duration::from_nanos(u64::from_be_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_when_it_was_due_and_is_not_like_the_others() {
        let payloads = Payloads::noise();
        let payload = payloads.make(5_000, 64, Duration::from_micros(7));
        assert_eq!(payload.len(), 64);
        assert_eq!(due(&payload), Some(Duration::from_micros(7)));
        // Of two neighbours no part of a few bytes is the same.
        let next = payloads.make(5_001, 64, Duration::from_micros(7));
        assert!(payload[8..].windows(4).all(|part| !next[8..].windows(4).any(|it| it == part)));
    }

    #[test]
    fn a_file_is_read_over_and_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        fs_err::write(&path, b"abcdefghij").unwrap();
        let payloads = Payloads::from_file(&path).unwrap();
        assert_eq!(payloads.make(0, 20, Duration::ZERO)[8..], *b"abcdefghijab");
        assert_eq!(payloads.make(1, 12, Duration::ZERO)[8..], *b"cdef");
        fs_err::write(&path, b"").unwrap();
        assert!(Payloads::from_file(&path).is_err());
    }
}
