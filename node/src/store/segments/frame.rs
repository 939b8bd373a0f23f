//! Frames: what a segment is made of, and how they are found among damaged bytes.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic |
//! | 1 | kind |
//! | 3 | zero |
//! | 4 | number of the segment |
//! | 4 | length of the payload |
//! | 8 | number of the frame, strictly rising over the life of the store |
//! | 8 | checksum of the payload |
//! | 8 | checksum of the 32 bytes above |
//!
//! Numbers are big-endian, checksums XXH3 with the store's salt as their seed. The salt is random
//! and never leaves the disk. Records are written by others, and bytes of a record that look like a
//! frame must not be taken for one if the header before them is damaged.
//!
//! A frame with a whole header tells its length, so damage of its payload costs that payload only.
//! If the header is damaged, the next position is searched, byte by byte, at which a magic, a
//! checksum and a number fit.

#![warn(clippy::wildcard_enum_match_arm, clippy::indexing_slicing)]

use std::ops::Range;

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::store::keys::take;

const MAGIC: [u8; 4] = [0xa7, b'A', b'f', 0x1e];

/// Bytes before the payload of each frame.
pub(super) const HEAD_BYTES: usize = 40;

/// Bytes of a head that its own checksum covers.
const CHECKED_BYTES: usize = 32;

/// Runs of zeros are passed over in steps of this many bytes.
const ZEROS: [u8; 512] = [0; 512];

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What the segment is, see `record`.
    Opening = 1,
    /// The hash of a batch's header, then the batch as it was signed.
    Batch = 2,
    /// A key and its value, see `record`.
    Put = 3,
    /// A key whose value is gone.
    Remove = 4,
    /// Batches of a log were removed.
    Drop = 5,
    /// A damaged batch is no longer counted.
    Quarantine = 6,
    /// A part of a checkpoint.
    Checkpoint = 7,
    /// The end of a group.
    Commit = 8,
    /// A compacted range.
    Compacted = 9,
    /// The header of a trimmed batch.
    Header = 10,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        let kinds = [
            Self::Opening,
            Self::Batch,
            Self::Put,
            Self::Remove,
            Self::Drop,
            Self::Quarantine,
            Self::Checkpoint,
            Self::Commit,
            Self::Compacted,
            Self::Header,
        ];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) segment: u32,
    pub(super) length: u32,
    pub(super) number: u64,
    checksum: u64,
}

impl Head {
    /// The head of a payload that is given in parts.
    pub(super) fn new(kind: Kind, segment: u32, number: u64, salt: u64, parts: &[&[u8]]) -> Self {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let length = u32::try_from(length).expect("a payload is smaller than a segment");
        Self { kind, segment, length, number, checksum: checksum(salt, parts) }
    }

    pub(super) fn encode(&self, salt: u64) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let fields: [&[u8]; 6] = [
            &MAGIC,
            &[self.kind as u8, 0, 0, 0],
            &self.segment.to_be_bytes(),
            &self.length.to_be_bytes(),
            &self.number.to_be_bytes(),
            &self.checksum.to_be_bytes(),
        ];
        let mut rest = bytes.as_mut_slice();
        for field in fields {
            let (place, behind) = rest.split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = behind;
        }
        let (checked, last) = bytes.split_at_mut(CHECKED_BYTES);
        last.copy_from_slice(&xxh3_64_with_seed(checked, salt).to_be_bytes());
        bytes
    }

    /// The head at the beginning of some bytes; none where there is no whole one.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD_BYTES>()?;
        let (checked, mut last) = head.split_at(CHECKED_BYTES);
        let mut rest = checked.strip_prefix(MAGIC.as_slice())?;
        if u64::from_be_bytes(take(&mut last)?) != xxh3_64_with_seed(checked, salt) {
            return None;
        }
        let [kind, 0, 0, 0] = take(&mut rest)? else { return None };
        Some(Self {
            kind: Kind::from_byte(kind)?,
            segment: u32::from_be_bytes(take(&mut rest)?),
            length: u32::from_be_bytes(take(&mut rest)?),
            number: u64::from_be_bytes(take(&mut rest)?),
            checksum: u64::from_be_bytes(take(&mut rest)?),
        })
    }

    /// Bytes of head and payload.
    pub(super) fn frame_bytes(&self) -> usize {
        HEAD_BYTES + usize::try_from(self.length).unwrap_or(usize::MAX - HEAD_BYTES)
    }

    /// Whether a payload is the one that the head was made for.
    pub(super) fn fits(&self, payload: &[u8], salt: u64) -> bool {
        u32::try_from(payload.len()) == Ok(self.length)
            && checksum(salt, &[payload]) == self.checksum
    }
}

fn checksum(salt: u64, parts: &[&[u8]]) -> u64 {
    if let [part] = parts {
        return xxh3_64_with_seed(part, salt);
    }
    let mut hasher = Xxh3::with_seed(salt);
    for part in parts {
        hasher.update(part);
    }
    hasher.digest()
}

/// What was found in a segment, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A whole frame.
    Frame(Frame<'a>),
    /// Bytes that are none.
    Damaged(Range<usize>),
}

/// A whole frame and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) head: Head,
    pub(super) offset: usize,
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    /// The offset behind it.
    pub(super) fn end(&self) -> usize {
        self.offset + self.head.frame_bytes()
    }
}

/// Goes through the frames of a segment, and past what is damaged.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    salt: u64,
    segment: u32,
    at: usize,
    /// The number of the last frame, below which there is none.
    last: u64,
    /// A frame that was found behind damage which is told first.
    ahead: Option<Head>,
}

impl<'a> Scan<'a> {
    /// Begins at an offset, behind the frame `last`.
    pub(super) fn new(bytes: &'a [u8], salt: u64, segment: u32, at: usize, last: u64) -> Self {
        Self { bytes, salt, segment, at: at.min(bytes.len()), last, ahead: None }
    }

    fn head_at(&self, at: usize) -> Option<Head> {
        let bytes = self.bytes.get(at..)?;
        let head = Head::decode(bytes, self.salt)?;
        let fits = head.segment == self.segment
            && head.number > self.last
            && head.frame_bytes() <= bytes.len();
        fits.then_some(head)
    }

    /// The next place at or behind `at` where a head is, or the end.
    fn seek(&self, mut at: usize) -> (usize, Option<Head>) {
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if rest.starts_with(&ZEROS) {
                at += ZEROS.len();
            } else if rest.starts_with(&MAGIC)
                && let Some(head) = self.head_at(at)
            {
                return (at, Some(head));
            } else {
                let next = rest.iter().skip(1).position(|byte| *byte == MAGIC[0] || *byte == 0);
                at += next.map_or(rest.len(), |next| next + 1);
            }
        }
        (self.bytes.len(), None)
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let begin = self.at;
        let head = self.ahead.take().or_else(|| self.head_at(begin));
        let Some(head) = head else {
            let (at, head) = self.seek(begin);
            let passed = self.bytes.get(begin..at)?;
            self.at = at;
            self.ahead = head;
            let is_rest = head.is_none() && passed.iter().all(|byte| *byte == 0);
            return (!is_rest).then_some(Found::Damaged(begin..at));
        };
        self.last = head.number;
        self.at = begin + head.frame_bytes();
        let payload = self.bytes.get(begin + HEAD_BYTES..self.at)?;
        if head.fits(payload, self.salt) {
            Some(Found::Frame(Frame { head, offset: begin, payload }))
        } else {
            Some(Found::Damaged(begin..self.at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 77;

    fn frame(number: u64, payload: &[u8]) -> Vec<u8> {
        let head = Head::new(Kind::Put, 3, number, SALT, &[payload]);
        [head.encode(SALT).as_slice(), payload].concat()
    }

    fn numbers(bytes: &[u8]) -> (Vec<u64>, Vec<Range<usize>>) {
        let (mut numbers, mut damaged) = (Vec::new(), Vec::new());
        for found in Scan::new(bytes, SALT, 3, 0, 0) {
            match found {
                Found::Frame(frame) => numbers.push(frame.head.number),
                Found::Damaged(range) => damaged.push(range),
            }
        }
        (numbers, damaged)
    }

    #[test]
    fn frames_come_back() {
        let bytes = [frame(1, b"one"), frame(2, b""), frame(9, b"three"), vec![0; 900]].concat();
        assert_eq!(numbers(&bytes), (vec![1, 2, 9], vec![]));
        assert_eq!(numbers(&[]), (vec![], vec![]));
    }

    /// They are for features that are planned, as docs/formats.md says.
    #[test]
    fn reserved_kinds_are_no_frames() {
        assert!((1..=10).all(|kind| Kind::from_byte(kind).is_some()));
        assert!([0].into_iter().chain(11..=15).all(|kind| Kind::from_byte(kind).is_none()));
    }

    #[test]
    fn each_flipped_bit_costs_one_frame() {
        let frames = [frame(1, b"one"), frame(2, b"two"), frame(3, &[0xa7; 50])];
        let bytes = [frames.concat(), vec![0; 600]].concat();
        let mut ends = Vec::new();
        for frame in &frames {
            ends.push(ends.last().unwrap_or(&0) + frame.len());
        }
        for position in 0..frames.concat().len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[position] ^= 1 << bit;
                let hit = ends.iter().position(|end| position < *end).unwrap() as u64 + 1;
                let expected: Vec<_> = (1..=3).filter(|number| *number != hit).collect();
                let (found, ranges) = numbers(&damaged);
                assert_eq!(found, expected, "byte {position} bit {bit}");
                assert!(ranges.iter().any(|range| range.contains(&position)));
            }
        }
    }

    #[test]
    fn a_frame_of_another_place_is_none() {
        let later = frame(5, b"later");
        let bytes = [later.clone(), frame(4, b"stale"), frame(6, b"next")].concat();
        let (found, damaged) = numbers(&bytes);
        let stale = later.len()..2 * later.len();
        assert_eq!((found.as_slice(), damaged.as_slice()), ([5, 6].as_slice(), [stale].as_slice()));
        let other = Head::new(Kind::Put, 4, 1, SALT, &[b"x"]).encode(SALT);
        assert_eq!(numbers(&[other.as_slice(), b"x"].concat()).0, [0; 0]);
        // Whoever does not know the salt makes no frames.
        let forged = Head::new(Kind::Put, 3, 1, 78, &[b"x"]).encode(78);
        assert_eq!(numbers(&[forged.as_slice(), b"x"].concat()).0, [0; 0]);
    }

    #[test]
    fn arbitrary_bytes_are_no_panic() {
        let mut random = fastrand::Rng::with_seed(1);
        for length in 0..2_000 {
            let mut bytes = vec![0; length];
            random.fill(&mut bytes);
            if let Some(place) = bytes.get_mut(length / 2..length / 2 + 4) {
                place.copy_from_slice(&MAGIC);
            }
            assert_eq!(numbers(&bytes).0, [0; 0]);
        }
    }
}
