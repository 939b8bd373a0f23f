//! Records: what users publish.
//!
//! A record is a CBOR array `[time, payload, key?, headers?]`, the last two left out when they
//! are empty. A batch's body is a CBOR sequence of records (RFC 8742). The publisher encodes a
//! record once; from then on its bytes are only copied.

use std::{fmt, str::FromStr, time::SystemTime};

use bytes::Bytes;
use minicbor::{Decode, Decoder, Encode, Encoder};
use thiserror::Error;

use super::{TopicName, WallClock, own_headers::check_given_headers};
use crate::limits::{HEADERS_MAX, NAME_BYTES_MAX, RECORD_BYTES_MAX};

/// What a user publishes: a payload, with an optional key and headers.
///
/// Bytes and texts become records by [`From`], and JSON by `Record::json`. The other parts follow
/// by the methods that begin with `with_`. Payload, key and headers together have at most 1 MiB
/// ([`RECORD_BYTES_MAX`]). A larger record is refused when it is published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// When the record was published, by the publisher's clock, in milliseconds. A record that was
    /// read has a time. If a record has none, the client sets it when it publishes the record.
    pub time: Option<WallClock>,
    /// The content; may be empty.
    pub payload: Bytes,
    /// What the record is about. Groups keep records of one key in order, and a compacted topic
    /// keeps the newest one of each key.
    pub key: Option<Bytes>,
    /// Names and values beside the payload, in the publisher's order.
    pub headers: Vec<(String, Bytes)>,
    /// The id to publish it under; see [`with_id`](Self::with_id). A record that was read has none
    /// here: it carries the id that it was given in its header [`antiphon-id`].
    ///
    /// [`antiphon-id`]: super::GIVEN_ID_HEADER
    pub id: Option<String>,
}

impl Record {
    /// A record with a time and a payload, and nothing else. Most programs leave the time to the
    /// client, and use `Record::from(payload)`.
    pub fn new(time: WallClock, payload: impl Into<Bytes>) -> Self {
        Self { time: Some(time), payload: payload.into(), ..Self::default() }
    }

    /// A record whose payload is the value as JSON, without a time.
    ///
    /// # Errors
    /// When the value cannot be written as JSON: it has a map whose keys are no texts, or its own
    /// serialization fails.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(serde_json::to_vec(value)?.into())
    }

    /// The payload, which is JSON, as a value.
    ///
    /// # Errors
    /// When the payload is no JSON, or the JSON does not fit the type.
    #[cfg(feature = "json")]
    pub fn to_json<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.payload)
    }

    /// The same record with another time. Parts of a millisecond are left out.
    #[must_use]
    pub fn with_time(self, time: SystemTime) -> Self {
        Self { time: Some(time.into()), ..self }
    }

    /// When the record was published, by the publisher's clock. A record that was read has a time.
    pub fn published_at(&self) -> Option<SystemTime> {
        self.time.map(SystemTime::from)
    }

    /// The same record under an id that the publisher chooses: 1 to 255 bytes of any text.
    ///
    /// A later publish to the topic under the same id stores nothing, whatever its record says,
    /// through any node and from any process. It gets the receipt of the first record, marked as a
    /// duplicate. So publishing again after a crash is safe. The record carries the id in its
    /// header `antiphon-id`. An empty or longer id is refused when the record is published.
    ///
    /// Replicas know the ids of the last ten minutes, at most 65,536 of each topic. So a second
    /// copy may be stored in these cases:
    ///
    /// - the first record was stored earlier than that, or a limit of the topic had it deleted;
    /// - all replicas were restarted since;
    /// - both are published at the same moment, through two nodes;
    /// - the node cannot reach the replicas.
    ///
    /// Then a reader hands out one of them: it remembers the last 65,536 ids that it has seen,
    /// however old they are. So use an id for one record only.
    ///
    /// Each such record is a request of its own. Thousands a second take several publishers.
    #[must_use]
    pub fn with_id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// The same record with this key.
    #[must_use]
    pub fn with_key(self, key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The same record with one more header. When it is published, the record is refused if one of
    /// these holds:
    ///
    /// - it has more than 64 headers ([`HEADERS_MAX`]);
    /// - a header's name has no bytes, or more than 255 ([`NAME_BYTES_MAX`]);
    /// - a header's name begins with `antiphon-`: those are Antiphon's own.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Whether the record deletes its key in a compacted topic: it has a key and no payload.
    pub fn is_tombstone(&self) -> bool {
        self.key.is_some() && self.payload.is_empty()
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value)
    }

    /// Bytes of payload, key and headers together: at most 1 MiB ([`RECORD_BYTES_MAX`]) in a record
    /// that is published.
    pub fn size_bytes(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.payload.len() + self.key.as_ref().map_or(0, Bytes::len) + headers
    }
}

/// A record with this payload, which says nothing of its time.
impl From<Bytes> for Record {
    fn from(payload: Bytes) -> Self {
        Self { payload, ..Self::default() }
    }
}

/// A record with this payload, which says nothing of its time.
impl From<Vec<u8>> for Record {
    fn from(payload: Vec<u8>) -> Self {
        Bytes::from(payload).into()
    }
}

/// A record with these bytes as its payload, which says nothing of its time.
impl<const N: usize> From<[u8; N]> for Record {
    fn from(payload: [u8; N]) -> Self {
        payload.to_vec().into()
    }
}

/// A record with these bytes as its payload, which says nothing of its time. Copies nothing.
impl<const N: usize> From<&'static [u8; N]> for Record {
    fn from(payload: &'static [u8; N]) -> Self {
        Bytes::from_static(payload).into()
    }
}

/// A record with these bytes as its payload, which says nothing of its time. Copies nothing.
impl From<&'static [u8]> for Record {
    fn from(payload: &'static [u8]) -> Self {
        Bytes::from_static(payload).into()
    }
}

/// The same record. Its bytes are shared and not copied.
impl From<&Self> for Record {
    fn from(record: &Self) -> Self {
        record.clone()
    }
}

/// A record with this text as its payload, which says nothing of its time.
impl From<String> for Record {
    fn from(payload: String) -> Self {
        Bytes::from(payload).into()
    }
}

/// A record with a copy of this text as its payload, which says nothing of its time.
impl From<&str> for Record {
    fn from(payload: &str) -> Self {
        Bytes::copy_from_slice(payload.as_bytes()).into()
    }
}

/// Why a record is not accepted.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum RecordError {
    /// The publisher's record is too large.
    #[error("the record has {size} bytes, more than the limit of {RECORD_BYTES_MAX}")]
    TooLarge {
        /// Bytes of payload, key and headers.
        size: usize,
    },
    /// The publisher's record has too many headers.
    #[error("the record has {count} headers, more than the limit of {HEADERS_MAX}")]
    TooManyHeaders {
        /// Number of headers.
        count: usize,
    },
    /// The publisher's header name is empty or too long.
    #[error("a header name has {size} bytes; 1 to {NAME_BYTES_MAX} are allowed")]
    HeaderName {
        /// Bytes of the name.
        size: usize,
    },
    /// The publisher's record has a header that only Antiphon sets.
    #[error("the header `{name}` is Antiphon's own")]
    OwnHeader {
        /// Its name.
        name: String,
    },
    /// The bytes are no record.
    #[error("malformed record: {0}")]
    Malformed(String),
}

impl From<minicbor::decode::Error> for RecordError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Appends the encoding of a record to `buffer`. A record without a time is encoded as one of 1970.
///
/// # Errors
/// When the record is above a limit; `buffer` is unchanged then.
pub fn encode_record(record: &Record, buffer: &mut Vec<u8>) -> Result<(), RecordError> {
    let size = record.size_bytes();
    if size > RECORD_BYTES_MAX {
        return Err(RecordError::TooLarge { size });
    }
    if record.headers.len() > HEADERS_MAX {
        return Err(RecordError::TooManyHeaders { count: record.headers.len() });
    }
    for (name, _) in &record.headers {
        check_header_name(name)?;
    }
    write_record(record, &mut Encoder::new(buffer)).expect("writing to memory does not fail");
    Ok(())
}

fn check_header_name(name: &str) -> Result<(), RecordError> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) {
        Ok(())
    } else {
        Err(RecordError::HeaderName { size: name.len() })
    }
}

fn write_record<W: minicbor::encode::Write>(
    record: &Record,
    encoder: &mut Encoder<W>,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    let length = match (&record.key, record.headers.is_empty()) {
        (None, true) => 2,
        (Some(_), true) => 3,
        (_, false) => 4,
    };
    encoder.array(length)?.u64(record.time.unwrap_or_default().0)?.bytes(&record.payload)?;
    if length >= 3 {
        match &record.key {
            Some(key) => encoder.bytes(key)?,
            None => encoder.null()?,
        };
    }
    if length == 4 {
        encoder.map(record.headers.len() as u64)?;
        for (name, value) in &record.headers {
            encoder.str(name)?.bytes(value)?;
        }
    }
    Ok(())
}

/// A record whose byte strings borrow the body.
struct Borrowed<'b> {
    time: u64,
    payload: &'b [u8],
    key: Option<&'b [u8]>,
    headers: Vec<(&'b str, &'b [u8])>,
}

fn read_record<'b>(decoder: &mut Decoder<'b>) -> Result<Borrowed<'b>, RecordError> {
    let length = decoder.array()?;
    let (Some(2..=4), Some(length)) = (length, length) else {
        return Err(RecordError::Malformed("not an array of 2 to 4 items".into()));
    };
    let time = decoder.u64()?;
    let payload = decoder.bytes()?;
    let mut size = payload.len();
    let mut key = None;
    if length >= 3 {
        if decoder.datatype()? == minicbor::data::Type::Null {
            decoder.null()?;
        } else {
            let bytes = decoder.bytes()?;
            size += bytes.len();
            key = Some(bytes);
        }
    }
    let mut headers = Vec::new();
    if length == 4 {
        let count =
            decoder.map()?.ok_or_else(|| RecordError::Malformed("indefinite map".into()))?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > HEADERS_MAX {
            return Err(RecordError::TooManyHeaders { count });
        }
        for _ in 0..count {
            let name = decoder.str()?;
            check_header_name(name)?;
            let value = decoder.bytes()?;
            size += name.len() + value.len();
            headers.push((name, value));
        }
    }
    if size > RECORD_BYTES_MAX {
        return Err(RecordError::TooLarge { size });
    }
    Ok(Borrowed { time, payload, key, headers })
}

/// Checks that `body` is a sequence of records within the limits, and counts them.
///
/// # Errors
/// When it is not.
pub fn validate_records(body: &[u8]) -> Result<u32, RecordError> {
    let mut decoder = Decoder::new(body);
    let mut count = 0_u32;
    while decoder.position() < body.len() {
        read_record(&mut decoder)?;
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// Checks records that a node receives for a topic as [`validate_records`] does, and that their
/// `antiphon-` headers are true. `first` names the first of them.
///
/// # Errors
/// When they are not records within the limits, or one has such a header.
pub fn validate_given(topic: &TopicName, first: RecordId, body: &[u8]) -> Result<u32, RecordError> {
    let mut decoder = Decoder::new(body);
    let mut count = 0_u32;
    while decoder.position() < body.len() {
        let record = read_record(&mut decoder)?;
        if !record.headers.is_empty() {
            let number = first.number.saturating_add(u64::from(count));
            check_given_headers(topic, RecordId { number, ..first }, &record.headers)?;
        }
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// The records of a body, one after the other, sharing its memory.
#[derive(Debug, Clone)]
pub struct Records {
    body: Bytes,
    position: usize,
}

impl Records {
    /// The records of `body`.
    pub fn new(body: Bytes) -> Self {
        Self { body, position: 0 }
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.body.len() {
            return None;
        }
        let mut decoder = Decoder::new(&self.body);
        decoder.set_position(self.position);
        match read_record(&mut decoder) {
            Ok(borrowed) => {
                self.position = decoder.position();
                let share = |part: &[u8]| self.body.slice_ref(part);
                Some(Ok(Record {
                    time: Some(WallClock(borrowed.time)),
                    payload: share(borrowed.payload),
                    key: borrowed.key.map(share),
                    headers: borrowed
                        .headers
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), share(value)))
                        .collect(),
                    id: None,
                }))
            }
            Err(error) => {
                self.position = self.body.len();
                Some(Err(error))
            }
        }
    }
}

/// The producer in a [`RecordId`]: 128 random bits that a publisher draws when it starts. In the id
/// of a record that was published under an id of the user, it is a hash of that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct ProducerId(#[cbor(with = "minicbor::bytes")] pub [u8; 16]);

impl fmt::Debug for ProducerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&bs58::encode(self.0).into_string())
    }
}

/// The id of a record: its producer and its number there. Its text is `PRODUCER-NUMBER`, with the
/// producer in base58.
///
/// The publisher chooses it before it sends the record. So a publish that is repeated through
/// another node keeps it, and readers recognise the second copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// Who published it.
    pub producer: ProducerId,
    /// Its number there, from 0.
    pub number: u64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}-{}", self.producer, self.number)
    }
}

/// A text that names no record.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("not a record id")]
pub struct RecordIdError;

impl FromStr for RecordId {
    type Err = RecordIdError;

    fn from_str(text: &str) -> Result<Self, RecordIdError> {
        let (producer, number) = text.split_once('-').ok_or(RecordIdError)?;
        let producer = bs58::decode(producer).into_vec().map_err(|_malformed| RecordIdError)?;
        let producer = <[u8; 16]>::try_from(producer).map_err(|_malformed| RecordIdError)?;
        let number = number.parse().map_err(|_malformed| RecordIdError)?;
        Ok(Self { producer: ProducerId(producer), number })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_record() -> impl Strategy<Value = Record> {
        (
            any::<u64>(),
            proptest::collection::vec(any::<u8>(), 0..300),
            proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
            proptest::collection::vec(("[a-zü]{1,9}", "[ -~]{0,9}"), 0..4),
        )
            .prop_map(|(time, payload, key, headers)| Record {
                time: Some(WallClock(time)),
                payload: payload.into(),
                key: key.map(Bytes::from),
                headers: headers.into_iter().map(|(n, v)| (n, v.into_bytes().into())).collect(),
                id: None,
            })
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_went(records in proptest::collection::vec(any_record(), 0..8)) {
            let mut body = Vec::new();
            for record in &records {
                encode_record(record, &mut body).unwrap();
            }
            prop_assert_eq!(validate_records(&body).unwrap() as usize, records.len());
            let back: Vec<_> = Records::new(body.into()).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(back, records);
        }

        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let count = validate_records(&body);
            let back: Result<Vec<_>, _> = Records::new(body.into()).collect();
            prop_assert_eq!(count.is_ok(), back.is_ok());
        }
    }

    #[test]
    fn limits_are_inclusive() {
        let mut buffer = Vec::new();
        let record = Record::new(WallClock(0), vec![0; RECORD_BYTES_MAX]);
        encode_record(&record, &mut buffer).unwrap();
        assert_eq!(validate_records(&buffer), Ok(1));
        let size = RECORD_BYTES_MAX + 1;
        let record = Record::new(WallClock(0), vec![0; size]);
        let length = buffer.len();
        assert_eq!(encode_record(&record, &mut buffer), Err(RecordError::TooLarge { size }));
        assert_eq!(buffer.len(), length);
    }

    #[test]
    fn record_id_text() {
        let id = RecordId { producer: ProducerId([9; 16]), number: 41 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("9-".parse::<RecordId>(), Err(RecordIdError));
    }

    #[test]
    fn times_are_whole_milliseconds_since_1970() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_500);
        let record = Record::from(b"x").with_time(time);
        assert_eq!(record.time, Some(WallClock(1)));
        assert_eq!(
            SystemTime::from(WallClock(u64::MAX)).max(time),
            SystemTime::from(WallClock(u64::MAX))
        );
        let before = SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1);
        assert_eq!(WallClock::from(before), WallClock(0));
        assert_eq!(
            record.published_at(),
            Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1))
        );
    }

    #[test]
    fn bytes_of_any_kind_are_a_payload() {
        const BYTES: &[u8] = &[1, 2];
        let expected = Record { payload: vec![1, 2].into(), ..Record::default() };
        let all: [Record; 4] = [[1, 2].into(), (&[1, 2]).into(), BYTES.into(), (&expected).into()];
        assert_eq!(all, [(); 4].map(|()| expected.clone()));
    }
}
