//! Bodies of batches, compressed if that saves something.
//!
//! LZ4 in its block format, after the size of the sequence (4 bytes, little-endian).
//! `docs/performance.md` has its costs and savings.

use bytes::Bytes;
use lz4_flex::block;
use minicbor::{Decode, Encode};

use crate::limits::{BATCH_BODY_BYTES_MAX, EXPANSION_MAX};

/// How a body is compressed. 2 is reserved for Zstandard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Compression {
    /// Not at all.
    #[default]
    #[n(0)]
    None,
    /// LZ4.
    #[n(1)]
    Lz4,
}

/// Smaller bodies stay as they are: one or two records rarely repeat themselves.
const COMPRESSED_BYTES_MIN: usize = 512;

/// The share that compression must save: less is not worth the work at the readers.
const SAVED_PART_MIN: usize = 8;

/// How much of a body is compressed first, to see whether it pays. If it does not, the rest is not
/// tried.
const SAMPLE_BYTES: usize = 4 * 1024;

impl Compression {
    /// Compresses records if it pays. Returns the method and the stored bytes.
    pub(super) fn compress(records: &Bytes) -> (Self, Bytes) {
        let as_they_are = (Self::None, records.clone());
        if records.len() < COMPRESSED_BYTES_MIN {
            return as_they_are;
        }
        let sample = &records[..records.len().min(SAMPLE_BYTES)];
        if sample.len() < records.len() && compress_if_it_pays(sample).is_none() {
            return as_they_are;
        }
        compress_if_it_pays(records).map_or(as_they_are, |body| (Self::Lz4, body.into()))
    }

    /// The records of a body, expanded. None if no writer makes such a body, or if it exceeds a
    /// batch.
    pub(super) fn expand(self, body: &Bytes) -> Option<Bytes> {
        match self {
            Self::None => Some(body.clone()),
            Self::Lz4 => {
                let (size, block) = block::uncompressed_size(body).ok()?;
                if size > BATCH_BODY_BYTES_MAX.min(EXPANSION_MAX * body.len()) {
                    return None;
                }
                let records = block::decompress(block, size).ok()?;
                (records.len() == size).then(|| records.into())
            }
        }
    }
}

fn compress_if_it_pays(records: &[u8]) -> Option<Vec<u8>> {
    let compressed = block::compress_prepend_size(records);
    let saves = compressed.len() <= records.len() - records.len() / SAVED_PART_MIN;
    (saves && records.len() <= EXPANSION_MAX * compressed.len()).then_some(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize) -> Bytes {
        let mut random = fastrand::Rng::with_seed(1);
        (0..count).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn what_repeats_itself_is_compressed_and_comes_back() {
        let records: Bytes = b"temperature 21.5 ".repeat(100).into();
        let (compression, body) = Compression::compress(&records);
        assert_eq!(compression, Compression::Lz4);
        assert!(body.len() < records.len() / 10, "{} bytes", body.len());
        assert_eq!(compression.expand(&body), Some(records));
    }

    #[test]
    fn noise_and_little_stay_as_they_are() {
        for records in [noise(10_000), Bytes::from(vec![0; COMPRESSED_BYTES_MIN - 1])] {
            assert_eq!(Compression::compress(&records), (Compression::None, records));
        }
    }

    /// A body that many times its size comes of is not made, so none is at hand where the expansion
    /// is bounded: this one is just below.
    fn compressed() -> (Bytes, Bytes) {
        let mut records = noise(400).to_vec();
        records.resize(10_000, 7);
        let records = Bytes::from(records);
        let (compression, body) = Compression::compress(&records);
        assert_eq!(compression, Compression::Lz4);
        (records, body)
    }

    #[test]
    fn what_would_expand_too_much_stays_as_it_is_and_is_refused() {
        let records = Bytes::from(vec![7; 10_000]);
        assert_eq!(Compression::compress(&records), (Compression::None, records.clone()));
        let body = block::compress_prepend_size(&records);
        assert!(body.len() * EXPANSION_MAX < records.len());
        assert_eq!(Compression::Lz4.expand(&body.into()), None);
        let above =
            [noise(BATCH_BODY_BYTES_MAX / 2), vec![7; BATCH_BODY_BYTES_MAX].into()].concat();
        assert_eq!(Compression::Lz4.expand(&block::compress_prepend_size(&above).into()), None);
    }

    #[test]
    fn what_no_writer_makes_is_refused() {
        let (records, body) = compressed();
        let with_size = |size: u32| {
            let mut changed = body.to_vec();
            changed[..4].copy_from_slice(&size.to_le_bytes());
            Compression::Lz4.expand(&changed.into())
        };
        assert_eq!(with_size(10_000), Some(records));
        for size in [0, 9_999, 10_001, u32::MAX] {
            assert_eq!(with_size(size), None, "{size}");
        }
        for length in 0..body.len() {
            assert_eq!(Compression::Lz4.expand(&body.slice(..length)), None, "{length}");
        }
        for seed in 0..1_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut changed = body.to_vec();
            let at = random.usize(4..changed.len());
            changed[at] ^= 1 << random.u8(0..8);
            // Whatever it is: no panic, and not more than it says.
            if let Some(records) = Compression::Lz4.expand(&changed.into()) {
                assert_eq!(records.len(), 10_000);
            }
        }
    }
}
