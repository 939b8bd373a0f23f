//! What the payload of each kind of frame says.
//!
//! | kind | payload |
//! |---|---|
//! | opening | format 4, salt 8; checksums with salt 0; twice at the beginning of each segment |
//! | batch | hash of the header 32, incarnation that it is filed under 8, batch as it was signed |
//! | put | a key of the index, which is of the small state: length 2, key, value |
//! | remove | key |
//! | drop | topic 32, writer 32, incarnation 8, record numbers from 8, to 8, log in CBOR or nothing |
//! | quarantine | 1 if the batch was removed and else 0, place of the batch 96, log in CBOR |
//! | header | hash of the header 32, incarnation that it is filed under 8, batch with an empty body |
//! | checkpoint | any number of: length of key 2, length of value 4, key, value |
//! | compacted | place of the part 96, hash of its last batch 32, 1 and the hash of the batch before it 32, or 0; the beginnings of its batches' hashes, 16 each |

#![warn(clippy::wildcard_enum_match_arm)]

use std::ops::Range;

use antiphon::{
    engine::{Log, Write},
    model::{Batch, Compacted, Hash, Incarnation, LogId, NodeId, ShortHash, SignedHeader, TopicId},
};

use super::frame::{Frame, HEAD_BYTES, Head, Kind};
use crate::store::keys::{self, PLACE_BYTES, Place, Table, take};

/// The number of the format of segments that is written here. Format 1 had none; in format 2
/// nothing was compacted, and there were no headers without bodies.
pub(super) const FORMAT: u32 = 3;

/// Bytes before each stored batch: its hash, and where it is filed, which its bytes do not say of
/// the branch of a log that has forked.
pub(super) const BATCH_START_BYTES: usize = 40;

/// Bytes of one opening frame.
const OPENING_FRAME_BYTES: usize = HEAD_BYTES + 12;

/// Bytes at the beginning of each segment: the opening, twice.
pub(super) const OPENING_BYTES: usize = 2 * OPENING_FRAME_BYTES;

/// What the small state says under a key, or no longer says.
pub(super) type StateEntry = (Vec<u8>, Option<Vec<u8>>);

/// A frame's meaning.
#[derive(Debug)]
pub(super) enum Record<'a> {
    Batch {
        hash: Hash,
        filed: Incarnation,
        bytes: &'a [u8],
    },
    /// The header of a trimmed batch.
    Header {
        hash: Hash,
        filed: Incarnation,
        bytes: &'a [u8],
    },
    State(Vec<StateEntry>),
    Drop {
        topic: TopicId,
        log_id: LogId,
        records: Range<u64>,
        log: Option<Log>,
    },
    Quarantine {
        place: Place,
        is_removed: bool,
        log: Log,
    },
    Checkpoint(Vec<StateEntry>),
    Compacted {
        topic: TopicId,
        part: Compacted,
    },
    /// It says where something begins or ends.
    Mark,
}

impl<'a> Record<'a> {
    /// None when the payload is not what its kind has, which no disk does to it.
    pub(super) fn decode(frame: &Frame<'a>) -> Option<Self> {
        let mut rest = frame.payload;
        Some(match frame.head.kind {
            Kind::Opening | Kind::Commit => Self::Mark,
            Kind::Batch => {
                let hash = Hash(take(&mut rest)?);
                let filed = Incarnation(u64::from_be_bytes(take(&mut rest)?));
                Self::Batch { hash, filed, bytes: rest }
            }
            Kind::Header => {
                let hash = Hash(take(&mut rest)?);
                let filed = Incarnation(u64::from_be_bytes(take(&mut rest)?));
                Self::Header { hash, filed, bytes: rest }
            }
            Kind::Put => {
                let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
                let (key, value) = rest.split_at_checked(length)?;
                Self::State(vec![(state_key(key)?, Some(value.to_vec()))])
            }
            Kind::Remove => Self::State(vec![(state_key(rest)?, None)]),
            Kind::Drop => {
                let topic = TopicId::from_bytes(take(&mut rest)?);
                let writer = NodeId::from_bytes(take(&mut rest)?);
                let incarnation = Incarnation(u64::from_be_bytes(take(&mut rest)?));
                let [from, to] = [take(&mut rest)?, take(&mut rest)?].map(u64::from_be_bytes);
                let log = if rest.is_empty() { None } else { Some(minicbor::decode(rest).ok()?) };
                Self::Drop { topic, log_id: LogId { writer, incarnation }, records: from..to, log }
            }
            Kind::Quarantine => {
                let [is_removed] = take(&mut rest)?;
                let place: [u8; PLACE_BYTES] = take(&mut rest)?;
                let log = minicbor::decode(rest).ok()?;
                Self::Quarantine {
                    place: Place::from_key(&place)?,
                    is_removed: is_removed == 1,
                    log,
                }
            }
            Kind::Checkpoint => Self::Checkpoint(decode_state(rest)?),
            Kind::Compacted => {
                let (topic, part) = decode_compacted(rest)?;
                Self::Compacted { topic, part }
            }
        })
    }
}

fn state_key(key: &[u8]) -> Option<Vec<u8>> {
    Table::is_state(key).then(|| key.to_vec())
}

/// The payload of a removal of batches, and what their log is afterwards.
pub(super) fn encode_drop(
    topic: TopicId,
    log_id: LogId,
    range: Range<u64>,
    log: Option<&Log>,
) -> Vec<u8> {
    let mut payload = keys::log_key(topic, log_id).split_off(1);
    payload.extend_from_slice(&range.start.to_be_bytes());
    payload.extend_from_slice(&range.end.to_be_bytes());
    payload.extend(log.into_iter().flat_map(keys::encode));
    payload
}

/// What a write of the small state sets.
pub(super) fn state_entry(write: &Write) -> StateEntry {
    match write {
        Write::Subscription { topic, name, subscription } => {
            (keys::subscription_key(*topic, name), subscription.as_ref().map(keys::encode))
        }
        Write::Step { topic, number, step } => {
            (keys::step_key(*topic, *number), step.as_ref().map(keys::encode))
        }
        Write::Outbox { topic, log, pending } => {
            (keys::outbox_key(*topic, *log), pending.as_ref().map(keys::encode))
        }
        Write::Descriptor(topic, descriptor) => (
            keys::index_key(Table::Descriptors, topic.as_bytes()),
            Some(descriptor.bytes().to_vec()),
        ),
        Write::Fork(proof) => {
            // One key for one proof, however often it is told.
            let key = blake3::hash(proof.bytes());
            (keys::index_key(Table::Forks, key.as_bytes()), Some(proof.bytes().to_vec()))
        }
        Write::Statement { slot, statement } => (
            keys::index_key(Table::Roster, &slot.to_key()),
            statement.as_ref().map(|statement| statement.bytes().to_vec()),
        ),
        Write::Contact(contact) => {
            (keys::index_key(Table::Contacts, contact.node.as_bytes()), Some(keys::encode(contact)))
        }
        Write::Forget(node) => (keys::index_key(Table::Contacts, node.as_bytes()), None),
        Write::Append { .. }
        | Write::Drop { .. }
        | Write::Compact { .. }
        | Write::Quarantine { .. } => unreachable!("they change logs"),
    }
}

pub(super) fn encode_state((key, value): &StateEntry) -> (Kind, Vec<u8>) {
    match value {
        Some(value) => (Kind::Put, [&key_bytes(key)[..], key, value].concat()),
        None => (Kind::Remove, key.clone()),
    }
}

/// Adds an entry to the payload of a part of a checkpoint.
pub(super) fn put_state(payload: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    payload.extend_from_slice(&key_bytes(key));
    let length = u32::try_from(value.len()).expect("a value is smaller than a segment");
    payload.extend_from_slice(&length.to_be_bytes());
    payload.extend_from_slice(key);
    payload.extend_from_slice(value);
}

fn key_bytes(key: &[u8]) -> [u8; 2] {
    u16::try_from(key.len()).expect("keys are short").to_be_bytes()
}

fn decode_state(mut rest: &[u8]) -> Option<Vec<StateEntry>> {
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let key_bytes = usize::from(u16::from_be_bytes(take(&mut rest)?));
        let value_bytes = usize::try_from(u32::from_be_bytes(take(&mut rest)?)).ok()?;
        let (key, behind) = rest.split_at_checked(key_bytes)?;
        let (value, behind) = behind.split_at_checked(value_bytes)?;
        entries.push((state_key(key)?, Some(value.to_vec())));
        rest = behind;
    }
    Some(entries)
}

/// What stands before a batch.
pub(super) fn batch_start(batch: &Batch) -> [u8; BATCH_START_BYTES] {
    start(batch.hash(), batch.log())
}

/// What stands before a header.
pub(super) fn header_start(header: &SignedHeader) -> [u8; BATCH_START_BYTES] {
    start(header.hash(), header.log())
}

fn start(hash: Hash, log: LogId) -> [u8; BATCH_START_BYTES] {
    let mut start = [0; BATCH_START_BYTES];
    start[..32].copy_from_slice(&hash.0);
    start[32..].copy_from_slice(&log.incarnation.0.to_be_bytes());
    start
}

/// The payload of a quarantine.
pub(super) fn encode_quarantine(place: &Place, is_removed: bool, log: &Log) -> Vec<u8> {
    [&[u8::from(is_removed)], &place.to_key()[..], &keys::encode(log)].concat()
}

/// The payload of a compacted range. What is held of its log does not change by it, or follows from
/// it.
pub(super) fn encode_compacted(topic: TopicId, part: &Compacted) -> Vec<u8> {
    let mut payload = Place::of_part(topic, part).to_key();
    payload.extend_from_slice(&part.head.0);
    payload.push(u8::from(part.base.is_some()));
    payload.extend(part.base.iter().flat_map(|base| base.0));
    payload.extend(part.batches.iter().flat_map(ShortHash::as_bytes));
    payload
}

/// None when the bytes are no such payload.
pub(super) fn decode_compacted(mut rest: &[u8]) -> Option<(TopicId, Compacted)> {
    let place: [u8; PLACE_BYTES] = take(&mut rest)?;
    let Place { topic, log, first, next, stamp } = Place::from_key(&place)?;
    let head = Hash(take(&mut rest)?);
    let [has_base] = take(&mut rest)?;
    let base = if has_base == 1 { Some(Hash(take(&mut rest)?)) } else { None };
    let (names, rest) = rest.as_chunks();
    let batches = names.iter().copied().map(ShortHash::from_bytes).collect();
    let part = Compacted { log, first, next, base, head, stamp, batches };
    (rest.is_empty() && first < next).then_some((topic, part))
}

/// The beginning of a segment.
pub(super) fn opening(segment: u32, salt: u64) -> Vec<u8> {
    let payload = [&FORMAT.to_be_bytes()[..], &salt.to_be_bytes()].concat();
    // Whoever reads it does not know the salt yet.
    let head = Head::new(Kind::Opening, segment, 0, 0, &[&payload]).encode(0);
    [&head[..], &payload].concat().repeat(2)
}

/// Format and salt, as the beginning of a segment tells them; none where both copies are damaged
/// or nothing was written yet.
pub(super) fn read_opening(segment: u32, bytes: &[u8]) -> Option<(u32, u64)> {
    let read = |from: usize| {
        let frame = bytes.get(from..from + OPENING_FRAME_BYTES)?;
        let (head, mut payload) = (Head::decode(frame, 0)?, frame.get(HEAD_BYTES..)?);
        let is_opening = head.kind == Kind::Opening && head.segment == segment;
        if !is_opening || !head.fits(payload, 0) {
            return None;
        }
        let format = u32::from_be_bytes(take(&mut payload)?);
        Some((format, u64::from_be_bytes(take(&mut payload)?)))
    };
    read(0).or_else(|| read(OPENING_FRAME_BYTES))
}
