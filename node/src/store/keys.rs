//! Keys and values of the index. The batches themselves are in the segments.
//!
//! The first byte of a key is its table. Numbers are big-endian, so that the order of keys is the
//! order of what they name; all fields but the last one have a fixed length.
//!
//! | table | key | value |
//! |---|---|---|
//! | `B` batches | topic 32, writer 32, incarnation 8, first 8, next 8, stamp 8 | header hash 32, segment 4, offset 4, length of the frame 4, of which the body 4, hash of the batch before 32 if there is one; 1 if it is a compacted part, of which the hash is that of its last batch, as is the stamp |
//! | `H` headers | as `B` | as `B`: of a trimmed batch |
//! | `L` logs | topic 32, writer 32, incarnation 8 | what is held of the log, in CBOR |
//! | `S` subscriptions | topic 32, name (UTF-8) | position, in CBOR |
//! | `D` descriptors | topic 32 | topic descriptor |
//! | `K` forks | BLAKE3 of the value 32 | proof of a fork |
//! | `C` contacts | node 32 | contact, in CBOR |
//! | `R` steps | topic 32, number 8 | a bucket of the retention ledger, in CBOR |
//! | `O` outbox | topic 32, writer 32, incarnation 8 | from where on records are pending, in CBOR |
//! | `M` roster | number of the kind 1, what it is about | statement |
//! | `F` facts | name (UTF-8) | bytes |
//! | `P` position | | number of the last group's last frame 8, its segment 4, offset behind it 4, the store's salt 8, segments of the two newest checkpoints 4 each |
//! | `U` usage | segment 4 | bytes of the segment that entries of `B` point to, and those of `H` without bodies 8 |
//! | `V` version | | number of this layout 4 |
//!
//! The key of a batch contains its end and its stamp. So finding a batch, merging logs and trimming
//! them read two hundred bytes of each batch and not its quarter of a megabyte. Entries of the
//! tables in [`Table::STATE`] are also what frames of small state and checkpoints hold.

#![warn(clippy::wildcard_enum_match_arm, clippy::indexing_slicing)]

use antiphon::{
    engine::Stored,
    model::{
        Batch, Compacted, Hash, Header, Incarnation, LogId, NodeId, SignedHeader, Stamp,
        SubscriberName, TopicId,
    },
};

/// The number of the layout that this file describes. An index of another layout is rebuilt.
pub(super) const INDEX_FORMAT: u32 = 3;

/// Where the number of the layout is.
pub(super) const VERSION_KEY: [u8; 1] = [b'V'];

/// Where the position is.
pub(super) const POSITION_KEY: [u8; 1] = [b'P'];

/// The tables, by what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Batches,
    Headers,
    Logs,
    Subscriptions,
    Descriptors,
    Forks,
    Contacts,
    Steps,
    Outbox,
    Roster,
    Facts,
    Usage,
}

impl Table {
    /// The tables of the small state.
    pub(super) const STATE: [Self; 9] = [
        Self::Logs,
        Self::Subscriptions,
        Self::Descriptors,
        Self::Forks,
        Self::Contacts,
        Self::Steps,
        Self::Outbox,
        Self::Roster,
        Self::Facts,
    ];

    pub(super) fn tag(self) -> u8 {
        match self {
            Self::Batches => b'B',
            Self::Headers => b'H',
            Self::Logs => b'L',
            Self::Subscriptions => b'S',
            Self::Descriptors => b'D',
            Self::Forks => b'K',
            Self::Contacts => b'C',
            Self::Steps => b'R',
            Self::Outbox => b'O',
            Self::Roster => b'M',
            Self::Facts => b'F',
            Self::Usage => b'U',
        }
    }

    /// Whether a key belongs to the small state.
    pub(super) fn is_state(key: &[u8]) -> bool {
        Self::STATE.iter().any(|table| key.first() == Some(&table.tag()))
    }
}

/// A key with its table before it.
pub(super) fn index_key(table: Table, key: &[u8]) -> Vec<u8> {
    [&[table.tag()], key].concat()
}

/// Where a batch lies, or a compacted range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hash: Hash,
    pub(super) segment: u32,
    pub(super) offset: u32,
    /// Bytes of the frame.
    pub(super) length: u32,
    /// How many of them are the batch's body: none if only the header is left.
    pub(super) body: u32,
    /// The hash of the batch before.
    pub(super) base: Option<Hash>,
    /// Whether it is a compacted range: place and entry say all of it but the names of its batches.
    pub(super) is_compacted: bool,
}

/// What ends the value of a compacted range.
const COMPACTED: u8 = 1;

impl Entry {
    /// The entry of a batch whose frame lies there.
    pub(super) fn of(batch: &Batch, segment: u32, offset: usize, length: usize) -> Self {
        let body = batch.header().body_bytes;
        Self::at(batch.header(), batch.hash(), [segment, narrow(offset), narrow(length), body])
    }

    /// The entry of a header whose own frame lies there.
    pub(super) fn of_header(
        header: &SignedHeader,
        segment: u32,
        offset: usize,
        length: usize,
    ) -> Self {
        Self::at(header.header(), header.hash(), [segment, narrow(offset), narrow(length), 0])
    }

    /// The entry of a compacted range whose frame lies there.
    pub(super) fn of_part(part: &Compacted, segment: u32, offset: usize, length: usize) -> Self {
        let (hash, base, body) = (part.head, part.base, 0);
        let (offset, length) = (narrow(offset), narrow(length));
        Self { hash, segment, offset, length, body, base, is_compacted: true }
    }

    fn at(header: &Header, hash: Hash, [segment, offset, length, body]: [u32; 4]) -> Self {
        let base = header.previous.map(|previous| previous.hash);
        Self { hash, segment, offset, length, body, base, is_compacted: false }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(81);
        value.extend_from_slice(&self.hash.0);
        for number in [self.segment, self.offset, self.length, self.body] {
            value.extend_from_slice(&number.to_be_bytes());
        }
        value.extend(self.base.iter().flat_map(|hash| hash.0));
        value.extend(self.is_compacted.then_some(COMPACTED));
        value
    }

    pub(super) fn decode(mut value: &[u8]) -> Option<Self> {
        let hash = Hash(take(&mut value)?);
        let [segment, offset] = [take(&mut value)?, take(&mut value)?].map(u32::from_be_bytes);
        let [length, body] = [take(&mut value)?, take(&mut value)?].map(u32::from_be_bytes);
        let base = if value.len() <= 1 { None } else { Some(Hash(take(&mut value)?)) };
        let is_compacted = match value {
            [] => false,
            [COMPACTED] => true,
            _ => return None,
        };
        Some(Self { hash, segment, offset, length, body, base, is_compacted })
    }

    /// The compacted range at a place and its entry, without names of batches.
    pub(super) fn stored(&self, place: &Place) -> Stored {
        let Place { log, first, next, stamp, .. } = *place;
        let (base, head, batches) = (self.base, self.hash, Vec::new());
        let part = Compacted { log, first, next, base, head, stamp, batches };
        Stored { part, bytes: (!self.is_compacted).then_some(self.length.into()) }
    }

    /// Whether it was written before another one: segments are used in the order of their numbers.
    pub(super) fn lies_before(&self, other: &Self) -> bool {
        (self.segment, self.offset) < (other.segment, other.offset)
    }

    /// Bytes that its header needs, alone or not.
    pub(super) fn header_bytes(&self) -> u32 {
        self.length.saturating_sub(self.body)
    }
}

fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a segment is smaller than 4 GiB")
}

/// How far the segments are known to the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Number of the last frame of the last group.
    pub(super) number: u64,
    pub(super) segment: u32,
    /// The offset behind that frame.
    pub(super) offset: u32,
    /// The salt of the segments, so that an index of another store is known by it.
    pub(super) salt: u64,
    /// The segments of the newest checkpoint and of the one before; 0 if there is none.
    pub(super) checkpoints: [u32; 2],
}

impl Position {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = self.number.to_be_bytes().to_vec();
        value.extend_from_slice(&self.segment.to_be_bytes());
        value.extend_from_slice(&self.offset.to_be_bytes());
        value.extend_from_slice(&self.salt.to_be_bytes());
        value.extend(self.checkpoints.iter().flat_map(|segment| segment.to_be_bytes()));
        value
    }

    pub(super) fn decode(mut value: &[u8]) -> Option<Self> {
        let number = u64::from_be_bytes(take(&mut value)?);
        let [segment, offset] = [take(&mut value)?, take(&mut value)?].map(u32::from_be_bytes);
        let salt = u64::from_be_bytes(take(&mut value)?);
        let checkpoints = [take(&mut value)?, take(&mut value)?].map(u32::from_be_bytes);
        value.is_empty().then_some(Self { number, segment, offset, salt, checkpoints })
    }
}

/// The encoding of values.
pub(super) fn encode<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to memory does not fail")
}

/// Bytes of the key of a batch.
pub(super) const PLACE_BYTES: usize = 96;

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
        Self::at(batch.header(), batch.log())
    }

    pub(super) fn of_header(header: &SignedHeader) -> Self {
        Self::at(header.header(), header.log())
    }

    fn at(header: &Header, log: LogId) -> Self {
        Self {
            topic: header.topic,
            log,
            first: header.first,
            next: header.next(),
            stamp: header.stamp,
        }
    }

    pub(super) fn of_part(topic: TopicId, part: &Compacted) -> Self {
        let Compacted { log, first, next, stamp, .. } = *part;
        Self { topic, log, first, next, stamp }
    }

    /// At or before every batch of the log that starts at `first` or later.
    pub(super) fn floor(topic: TopicId, log: LogId, first: u64) -> Self {
        Self { topic, log, first, next: 0, stamp: stamp_from_bits(0) }
    }

    /// At or after every batch of the log that starts at `first` or before.
    pub(super) fn ceiling(topic: TopicId, log: LogId, first: u64) -> Self {
        Self { topic, log, first, next: u64::MAX, stamp: stamp_from_bits(u64::MAX) }
    }

    /// The key without its table.
    pub(super) fn to_key(self) -> Vec<u8> {
        self.to_index_key().split_off(1)
    }

    pub(super) fn to_index_key(self) -> Vec<u8> {
        self.to_key_of(Table::Batches)
    }

    /// The key in one of the two tables that have places.
    pub(super) fn to_key_of(self, table: Table) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + PLACE_BYTES);
        key.push(table.tag());
        put_log(&mut key, self.topic, self.log);
        key.extend_from_slice(&self.first.to_be_bytes());
        key.extend_from_slice(&self.next.to_be_bytes());
        key.extend_from_slice(&stamp_bits(self.stamp).to_be_bytes());
        debug_assert_eq!(key.len(), 1 + PLACE_BYTES);
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

/// The key of a log.
pub(super) fn log_key(topic: TopicId, log: LogId) -> Vec<u8> {
    key_of_log(Table::Logs, topic, log)
}

/// The key of what is pending of a log.
pub(super) fn outbox_key(topic: TopicId, log: LogId) -> Vec<u8> {
    key_of_log(Table::Outbox, topic, log)
}

fn key_of_log(table: Table, topic: TopicId, log: LogId) -> Vec<u8> {
    let mut key = vec![table.tag()];
    put_log(&mut key, topic, log);
    key
}

fn put_log(key: &mut Vec<u8>, topic: TopicId, log: LogId) {
    key.extend_from_slice(topic.as_bytes());
    key.extend_from_slice(log.writer.as_bytes());
    key.extend_from_slice(&log.incarnation.0.to_be_bytes());
}

/// The topic that a key without its table names.
pub(super) fn parse_topic(key: &[u8]) -> Option<TopicId> {
    Some(TopicId::from_bytes(key.try_into().ok()?))
}

/// The log that a key without its table names.
pub(super) fn parse_log_key(key: &[u8]) -> Option<(TopicId, LogId)> {
    let mut rest = key;
    let parsed = take_log(&mut rest)?;
    rest.is_empty().then_some(parsed)
}

/// The key of a subscription.
pub(super) fn subscription_key(topic: TopicId, name: &SubscriberName) -> Vec<u8> {
    let table = [Table::Subscriptions.tag()];
    [table.as_slice(), topic.as_bytes(), name.as_str().as_bytes()].concat()
}

/// The key of a step of what was received of a topic.
pub(super) fn step_key(topic: TopicId, number: u64) -> Vec<u8> {
    let table = [Table::Steps.tag()];
    [table.as_slice(), topic.as_bytes(), &number.to_be_bytes()].concat()
}

/// The step that a key without its table names.
pub(super) fn parse_step_key(key: &[u8]) -> Option<(TopicId, u64)> {
    let mut rest = key;
    let (topic, number) = (TopicId::from_bytes(take(&mut rest)?), take(&mut rest)?);
    rest.is_empty().then(|| (topic, u64::from_be_bytes(number)))
}

/// The subscription that a key without its table names.
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

/// Takes the first bytes of a slice.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
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
        assert_eq!(place.to_index_key(), index_key(Table::Batches, &key));
        assert_eq!(place.to_key_of(Table::Headers), index_key(Table::Headers, &key));
        let log = log_key(place.topic, place.log).split_off(1);
        assert_eq!(parse_log_key(&log), Some((place.topic, place.log)));
        let name: SubscriberName = "billing ü".parse().unwrap();
        let subscription = subscription_key(place.topic, &name).split_off(1);
        assert_eq!(parse_subscription_key(&subscription), Some((place.topic, name)));
        for length in 0..key.len() {
            assert_eq!(Place::from_key(&key[..length]), None);
        }
        assert_eq!(parse_log_key(&key), None);
        assert_eq!(parse_subscription_key(place.topic.as_bytes()), None, "an empty name");
    }

    /// They are for features that are planned, as docs/formats.md says.
    #[test]
    fn reserved_letters_are_no_tables() {
        let others = [Table::Batches, Table::Headers, Table::Usage];
        let tags: Vec<_> = others.into_iter().chain(Table::STATE).map(Table::tag).collect();
        for letter in *b"EQTX" {
            assert!(!tags.contains(&letter), "{letter}");
            assert!(VERSION_KEY != [letter] && POSITION_KEY != [letter]);
        }
    }

    #[test]
    fn values_come_back() {
        let (hash, base, is_compacted) = (Hash([1; 32]), None, false);
        let entry = Entry { hash, segment: 2, offset: 3, length: 4, body: 1, base, is_compacted };
        let followed = Entry { base: Some(Hash([5; 32])), ..entry };
        let parts = [entry, followed].map(|entry| Entry { is_compacted: true, ..entry });
        let position = Position { number: 1, segment: 2, offset: 3, salt: 4, checkpoints: [6, 5] };
        assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        assert_eq!(Entry::decode(&followed.encode()), Some(followed));
        assert_eq!(Position::decode(&position.encode()), Some(position));
        for part in parts {
            assert_eq!(Entry::decode(&part.encode()), Some(part));
            let other = [&part.encode()[..part.encode().len() - 1], &[2]].concat();
            assert_eq!(Entry::decode(&other), None);
            assert_eq!(Entry::decode(&[&part.encode()[..], &[1]].concat()), None);
        }
        for length in (0..80).filter(|length| *length != 48) {
            assert_eq!(Entry::decode(&followed.encode()[..length]), None);
        }
        assert_eq!(Position::decode(&[0; 31]), None);
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
