//! The layout on disk. Format 1.
//!
//! Numbers in keys are big-endian, so that the order of keys is the order of what they name; all
//! fields but the last one have a fixed length. Values are CBOR in the engine's own encoding.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `batches` | topic 32, writer 32, incarnation 8, first 8, next 8, stamp 8 | header hash 32, then the batch as it was signed |
//! | `logs` | topic 32, writer 32, incarnation 8 | what is held of the log |
//! | both | one byte 0 | number of the last commit 8 |
//! | `removals` | as `logs` | record number 8 up to which a removal is under way |
//! | `subscriptions` | topic 32, name (UTF-8) | position |
//! | `contacts` | node 32 | contact |
//! | `forks` | BLAKE3 of the value 32 | proof of a fork |
//! | `facts` | name (UTF-8) | bytes; under `format` the number of this layout (4 bytes) |
//!
//! The key of a batch says where it ends and when it was sealed. Bodies lie apart from keys, so
//! finding a batch, merging logs and trimming them read a hundred bytes of each batch and not
//! its quarter of a megabyte.

#![warn(clippy::wildcard_enum_match_arm, clippy::indexing_slicing)]

use antiphon::model::{Batch, Incarnation, LogId, NodeId, Stamp, SubscriberName, TopicId};

/// The number of the layout that this file describes.
pub(super) const FORMAT: u32 = 1;

/// The fact that holds the number of the layout.
pub(super) const FORMAT_FACT: &str = "format";

/// The key of the commit number. Before all others, which are longer.
pub(super) const COMMITS_KEY: [u8; 1] = [0];

/// Bytes of the key of a batch.
const PLACE_BYTES: usize = 96;

/// Where a batch stands: all of it that is known without reading its bytes. Ordered as its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) topic: TopicId,
    pub(super) log: LogId,
    /// Sequence number of its first record.
    pub(super) first: u64,
    /// Sequence number after its last record.
    pub(super) next: u64,
    pub(super) stamp: Stamp,
}

impl Place {
    pub(super) fn of(batch: &Batch) -> Self {
        let header = batch.header();
        Self {
            topic: header.topic,
            log: batch.log(),
            first: header.first,
            next: header.next(),
            stamp: header.stamp,
        }
    }

    /// At or before every batch of the log that starts at `first` or later.
    pub(super) fn floor(topic: TopicId, log: LogId, first: u64) -> Self {
        Self { topic, log, first, next: 0, stamp: stamp_from_bits(0) }
    }

    /// At or after every batch of the log that starts at `first` or before.
    pub(super) fn ceiling(topic: TopicId, log: LogId, first: u64) -> Self {
        Self { topic, log, first, next: u64::MAX, stamp: stamp_from_bits(u64::MAX) }
    }

    pub(super) fn to_key(self) -> Vec<u8> {
        let mut key = log_key(self.topic, self.log);
        key.extend_from_slice(&self.first.to_be_bytes());
        key.extend_from_slice(&self.next.to_be_bytes());
        key.extend_from_slice(&stamp_bits(self.stamp).to_be_bytes());
        debug_assert_eq!(key.len(), PLACE_BYTES);
        key
    }

    /// None when the bytes are no such key.
    pub(super) fn from_key(key: &[u8]) -> Option<Self> {
        let mut rest = key;
        let (topic, log) = take_log(&mut rest)?;
        let [first, next, stamp] = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?];
        rest.is_empty().then(|| Self {
            topic,
            log,
            first: u64::from_be_bytes(first),
            next: u64::from_be_bytes(next),
            stamp: stamp_from_bits(u64::from_be_bytes(stamp)),
        })
    }
}

pub(super) fn log_key(topic: TopicId, log: LogId) -> Vec<u8> {
    let mut key = Vec::with_capacity(PLACE_BYTES);
    key.extend_from_slice(topic.as_bytes());
    key.extend_from_slice(log.writer.as_bytes());
    key.extend_from_slice(&log.incarnation.0.to_be_bytes());
    key
}

pub(super) fn parse_log_key(key: &[u8]) -> Option<(TopicId, LogId)> {
    let mut rest = key;
    let parsed = take_log(&mut rest)?;
    rest.is_empty().then_some(parsed)
}

pub(super) fn subscription_key(topic: TopicId, name: &SubscriberName) -> Vec<u8> {
    [topic.as_bytes().as_slice(), name.as_str().as_bytes()].concat()
}

pub(super) fn parse_subscription_key(key: &[u8]) -> Option<(TopicId, SubscriberName)> {
    let mut rest = key;
    let topic = TopicId::from_bytes(take(&mut rest)?);
    let name = std::str::from_utf8(rest).ok()?.parse().ok()?;
    Some((topic, name))
}

fn take_log(rest: &mut &[u8]) -> Option<(TopicId, LogId)> {
    let topic = TopicId::from_bytes(take(rest)?);
    let writer = NodeId::from_bytes(take(rest)?);
    let incarnation = Incarnation(u64::from_be_bytes(take(rest)?));
    Some((topic, LogId { writer, incarnation }))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

/// A stamp shows its bits only in its encoding, which is the one integer.
fn stamp_bits(stamp: Stamp) -> u64 {
    let encoded = minicbor::to_vec(stamp).expect("writing to memory does not fail");
    minicbor::decode(&encoded).expect("a stamp is encoded as an integer")
}

fn stamp_from_bits(bits: u64) -> Stamp {
    let encoded = minicbor::to_vec(bits).expect("writing to memory does not fail");
    minicbor::decode(&encoded).expect("every integer is a stamp")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(first: u64) -> Place {
        Place {
            topic: TopicId::from_bytes([1; 32]),
            log: LogId { writer: NodeId::from_bytes([2; 32]), incarnation: Incarnation(3) },
            first,
            next: first + 2,
            stamp: stamp_from_bits(0x0102_0304_0506_0708),
        }
    }

    #[test]
    fn keys_come_back() {
        let place = place(4);
        let key = place.to_key();
        assert_eq!(Place::from_key(&key), Some(place));
        let log = log_key(place.topic, place.log);
        assert_eq!(parse_log_key(&log), Some((place.topic, place.log)));
        let name: SubscriberName = "billing ü".parse().unwrap();
        let subscription = subscription_key(place.topic, &name);
        assert_eq!(parse_subscription_key(&subscription), Some((place.topic, name)));
        for length in 0..key.len() {
            assert_eq!(Place::from_key(&key[..length]), None);
        }
        assert_eq!(parse_log_key(&key), None);
        assert_eq!(parse_subscription_key(place.topic.as_bytes()), None, "an empty name");
    }

    #[test]
    fn the_layout_is_frozen() {
        let expected = [
            [1; 32].as_slice(),
            &[2; 32],
            &[0, 0, 0, 0, 0, 0, 0, 3],
            &[0, 0, 0, 0, 0, 0, 0, 4],
            &[0, 0, 0, 0, 0, 0, 0, 6],
            &[1, 2, 3, 4, 5, 6, 7, 8],
        ];
        assert_eq!(place(4).to_key(), expected.concat());
    }

    #[test]
    fn keys_are_ordered_as_places() {
        let other_log =
            Place { log: LogId { incarnation: Incarnation(256), ..place(0).log }, ..place(0) };
        let places = [place(0), place(1), place(255), place(256), place(1 << 40), other_log];
        assert!(places.is_sorted());
        assert!(places.is_sorted_by_key(|place| place.to_key()));
        let Place { topic, log, .. } = place(0);
        assert!(Place::floor(topic, log, 255) < place(255));
        assert!(Place::ceiling(topic, log, 255) > place(255));
        assert!(Place::ceiling(topic, log, 255) < place(256));
    }
}
