//! Dedup ids: names of records that their publishers choose.
//!
//! A publisher may give a record an id of its own: the number of an order, the key of an event. The
//! record's name is then made of the topic's name and that id. So two publishes with one id make
//! one name, at any time and through any node. Everything that recognises second copies by their
//! names recognises these.

use thiserror::Error;

use super::{ProducerId, RecordId, TopicName};
use crate::limits::NAME_BYTES_MAX;

/// The header with the id that the publisher chose.
pub const GIVEN_ID_HEADER: &str = "antiphon-id";

/// The bit of a producer's id that marks a dedup id. Producers that are drawn at random do not have
/// it.
const GIVEN_BIT: u8 = 0x80;

/// A text that cannot be the id of a record. Nothing was published.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the id of a record has {size} bytes; 1 to {NAME_BYTES_MAX} are allowed")]
pub struct GivenIdError {
    /// Bytes of the text.
    pub size: usize,
}

impl ProducerId {
    /// A producer of these random bytes: never one that stands for a dedup id.
    pub fn random(mut bytes: [u8; 16]) -> Self {
        bytes[0] &= !GIVEN_BIT;
        Self(bytes)
    }

    /// Whether it stands for a dedup id. Producers of older versions were drawn without regard to
    /// that bit.
    pub fn is_given(&self) -> bool {
        self.0[0] & GIVEN_BIT != 0
    }
}

impl RecordId {
    /// The name of a record of this topic with this dedup id: 1 to [`NAME_BYTES_MAX`] bytes of any
    /// text.
    ///
    /// # Errors
    /// When the text is empty or too long.
    pub fn given(topic: &TopicName, id: &str) -> Result<Self, GivenIdError> {
        if !(1..=NAME_BYTES_MAX).contains(&id.len()) {
            return Err(GivenIdError { size: id.len() });
        }
        let mut hasher = blake3::Hasher::new_derive_key("antiphon 2026-11 record id v1");
        hasher.update(&(topic.as_str().len() as u64).to_le_bytes());
        hasher.update(topic.as_str().as_bytes()).update(id.as_bytes());
        let mut producer = [0; 16];
        hasher.finalize_xof().fill(&mut producer);
        producer[0] |= GIVEN_BIT;
        Ok(Self { producer: ProducerId(producer), number: 0 })
    }

    /// Whether it is made of a dedup id.
    pub fn is_given(&self) -> bool {
        self.producer.is_given() && self.number == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(topic: &str, id: &str) -> RecordId {
        RecordId::given(&topic.parse().unwrap(), id).unwrap()
    }

    #[test]
    fn one_id_is_one_name_in_its_topic() {
        assert_eq!(given("quakes", "order 7"), given("quakes", "order 7"));
        assert_ne!(given("quakes", "order 7"), given("quakes", "order 8"));
        assert_ne!(given("quakes", "order 7"), given("quaker", "order 7"));
        assert_ne!(given("ab", "c"), given("a", "bc"), "where one ends is part of it");
        // It is written on disks: another way to make it would not know the records of today.
        assert_eq!(given("quakes", "order 7").to_string(), "UEiBrtm7tc577g7hyBvFop-0");
    }

    #[test]
    fn given_ids_are_told_from_random_ones() {
        assert!(given("t", "7").is_given());
        assert!(!ProducerId::random([0xff; 16]).is_given());
        assert!(!RecordId { number: 1, ..given("t", "7") }.is_given());
    }

    #[test]
    fn an_id_has_a_length() {
        let topic = "t".parse().unwrap();
        let refused = |size| RecordId::given(&topic, &"x".repeat(size)).map_err(|it| it.size);
        assert_eq!(refused(0), Err(0));
        assert!(refused(NAME_BYTES_MAX).is_ok());
        assert_eq!(refused(NAME_BYTES_MAX + 1), Err(NAME_BYTES_MAX + 1));
    }
}
