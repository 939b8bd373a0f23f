//! Cursors: a reader's position in a topic.
//!
//! A cursor has two things for each log: which record comes next, and which batch the one before it
//! was in. It is valid at any node. Users see it as opaque text.

use std::{collections::BTreeMap, fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use minicbor::{Decode, Encode};
use thiserror::Error;

use super::{Batch, Frontier, Hash, LogId, TopicId};
use crate::limits::{FRONTIER_LOGS_MAX, SEQUENCE_MAX};

/// Where a reader stands in one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Sequence number of the record that comes next.
    pub next: u64,
    /// The batch that holds the record before it, where that is known.
    pub head: Option<Hash>,
}

/// A position as it is encoded. 32 zero bytes, which no batch has as its hash, stand for a batch
/// that is not known.
#[derive(Encode, Decode)]
struct Encoded {
    #[n(0)]
    next: u64,
    #[n(1)]
    head: Hash,
}

const NOT_KNOWN: Hash = Hash([0; 32]);

impl<C> Encode<C> for Position {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let head = self.head.unwrap_or(NOT_KNOWN);
        Encoded { next: self.next, head }.encode(encoder, context)
    }
}

impl<C> Decode<'_, C> for Position {
    fn decode(
        decoder: &mut minicbor::Decoder<'_>,
        context: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        let Encoded { next, head } = Encoded::decode(decoder, context)?;
        Ok(Self { next, head: Some(head).filter(|head| *head != NOT_KNOWN) })
    }
}

/// A reader's position in one topic: for each log, which record comes next. It stands at the start
/// of a log that it does not name.
///
/// It is valid at any node, also after restarts. Programs keep its text
/// ([`Display`](fmt::Display)), and read it back with [`str::parse`]. The text begins with `c1:`,
/// and a checksum shows if it was cut short or changed. Its length grows with the number of logs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Cursor {
    /// The id of the topic. The cursor is of use in this topic only.
    #[n(0)]
    pub topic: TopicId,
    /// The position in each log.
    #[n(1)]
    pub logs: BTreeMap<LogId, Position>,
}

impl Cursor {
    /// The start of a topic.
    pub fn start(topic: TopicId) -> Self {
        Self { topic, logs: BTreeMap::new() }
    }

    /// The sequence number that comes next in `log`.
    pub fn next(&self, log: &LogId) -> u64 {
        self.logs.get(log).map_or(0, |position| position.next)
    }

    /// Moves to the end of a batch, never back.
    pub fn advance(&mut self, batch: &Batch) {
        let position = Position { next: batch.header().next(), head: Some(batch.hash()) };
        self.advance_to(batch.log(), position);
    }

    /// Moves to a position in a log, never back. It has [`FRONTIER_LOGS_MAX`] logs at most: what is
    /// beyond is left out.
    pub fn advance_to(&mut self, log: LogId, position: Position) {
        if !self.has_room_for(&log) {
            return;
        }
        let entry = self.logs.entry(log).or_insert(position);
        if entry.next < position.next {
            *entry = position;
        }
    }

    fn has_room_for(&self, log: &LogId) -> bool {
        self.logs.len() < FRONTIER_LOGS_MAX || self.logs.contains_key(log)
    }

    /// Moves to the later of both positions in every log. If two chains have parted, the batches
    /// before one position may differ. Then every node picks the same one.
    pub fn join(&mut self, other: &Self) {
        for (log, position) in &other.logs {
            if !self.has_room_for(log) {
                continue;
            }
            let entry = self.logs.entry(*log).or_insert(*position);
            *entry = (*position).max(*entry);
        }
    }

    /// Moves to the end of everything that a node holds.
    pub fn join_frontier(&mut self, frontier: &Frontier) {
        for (log, entry) in &frontier.0 {
            match entry.end() {
                Some((next, head)) => self.advance_to(*log, Position { next, head: Some(head) }),
                // Nothing is left of it, and there was as much.
                None if entry.low > 0 => {
                    self.advance_to(*log, Position { next: entry.low, head: entry.base });
                }
                None => {}
            }
        }
    }

    /// Moves back to `end` in every log where it stands after it: those records do not exist yet.
    pub fn limit(&mut self, end: &Self) {
        self.logs.retain(|log, position| match end.logs.get(log) {
            Some(last) if last.next < position.next => {
                *position = *last;
                true
            }
            Some(_) => true,
            None => false,
        });
    }

    /// Whether this cursor stands at or after `other` in every log.
    pub fn reaches(&self, other: &Self) -> bool {
        other.logs.iter().all(|(log, position)| self.next(log) >= position.next)
    }

    /// Number of records before the cursor, those that were trimmed or compacted included.
    pub fn records(&self) -> u64 {
        self.logs.values().fold(0, |sum, position| sum.saturating_add(position.next))
    }

    /// Whether a cursor from another node is within limits.
    pub fn is_well_formed(&self) -> bool {
        self.logs.len() <= FRONTIER_LOGS_MAX
            && self.logs.values().all(|position| position.next <= SEQUENCE_MAX)
    }
}

/// What a cursor's text starts with: its kind and version.
const TEXT_PREFIX: &str = "c1:";

/// What the texts of other places start with: of an ordered topic, of a version of a record.
const RESERVED_PREFIXES: [&str; 2] = ["o1:", "v1:"];

const CHECKSUM_BYTES: usize = 4;

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = minicbor::to_vec(self).expect("writing to memory does not fail");
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(&checksum.as_bytes()[..CHECKSUM_BYTES]);
        write!(formatter, "{TEXT_PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

/// Why a text is no cursor.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum CursorError {
    /// It does not start as one.
    #[error("a cursor starts with `{TEXT_PREFIX}`")]
    Prefix,
    /// It is a number. Only an ordered topic could have offsets.
    #[error("offsets are of ordered topics")]
    Offset,
    /// It is a place of a kind that only a newer program knows.
    #[error("a place of a kind that this program does not know")]
    Newer,
    /// Part of it is missing or was changed.
    #[error("the cursor is cut short or changed")]
    Damaged,
}

/// What a text is that is no cursor.
fn unlike(text: &str) -> CursorError {
    if RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
        CursorError::Newer
    } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        CursorError::Offset
    } else {
        CursorError::Prefix
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let text = text.strip_prefix(TEXT_PREFIX).ok_or_else(|| unlike(text))?;
        let bytes =
            BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_malformed| CursorError::Damaged)?;
        let (bytes, checksum) =
            bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(CursorError::Damaged)?;
        if blake3::hash(bytes).as_bytes()[..CHECKSUM_BYTES] != checksum[..] {
            return Err(CursorError::Damaged);
        }
        let cursor: Self = minicbor::decode(bytes).map_err(|_malformed| CursorError::Damaged)?;
        if cursor.is_well_formed() { Ok(cursor) } else { Err(CursorError::Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, NodeId};

    fn cursor() -> Cursor {
        let mut cursor = Cursor::start(TopicId::from_bytes([3; 32]));
        let log = |incarnation| LogId {
            writer: NodeId::from_bytes([1; 32]),
            incarnation: Incarnation(incarnation),
        };
        cursor.advance_to(log(7), Position { next: 9, head: Some(Hash([2; 32])) });
        cursor.advance_to(log(8), Position { next: 1, head: Some(Hash([4; 32])) });
        cursor
    }

    #[test]
    fn text_comes_back_and_damage_is_seen() {
        let text = cursor().to_string();
        assert_eq!(text.parse(), Ok(cursor()));
        for (text, error) in [
            ("", CursorError::Prefix),
            ("x", CursorError::Prefix),
            ("-5", CursorError::Prefix),
            ("0", CursorError::Offset),
            ("18446744073709551616", CursorError::Offset),
            ("o1:AAAA", CursorError::Newer),
            ("v1:AAAA", CursorError::Newer),
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(error), "{text}");
        }
        assert_eq!(text[..text.len() - 1].parse::<Cursor>(), Err(CursorError::Damaged));
        let other = text.replace(&text[20..22], "zz");
        assert_eq!(other.parse::<Cursor>(), Err(CursorError::Damaged));
    }

    #[test]
    fn a_batch_that_is_not_known_is_written_as_zeros() {
        let position = Position { next: 3, head: None };
        let bytes = minicbor::to_vec(position).unwrap();
        assert!(bytes.ends_with(&[0; 32]));
        assert_eq!(minicbor::decode(&bytes).ok(), Some(position));
        assert!(position < Position { head: Some(Hash([1; 32])), ..position });
    }

    #[test]
    fn never_moves_back() {
        let mut one = cursor();
        let (log, position) = one.logs.iter().next().map(|(l, p)| (*l, *p)).unwrap();
        one.advance_to(log, Position { next: position.next - 1, ..position });
        assert_eq!(one, cursor());
        let start = Cursor::start(one.topic);
        assert!(one.reaches(&start) && !start.reaches(&one));
        assert_eq!(one.records(), 10);
    }

    #[test]
    fn joining_comes_to_the_same_in_any_order() {
        let with_head = |byte: u8| {
            let mut one = cursor();
            one.logs.values_mut().for_each(|position| position.head = Some(Hash([byte; 32])));
            one
        };
        let join = |mut one: Cursor, other: &Cursor| {
            one.join(other);
            one
        };
        let (one, other) = (with_head(1), with_head(2));
        assert_eq!(join(one.clone(), &other), join(other, &one));
    }
}
