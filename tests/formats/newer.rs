//! What newer programs may say: fields, requests, refusals and gossip that this one does not know.

use antiphon::{
    model::{
        Announcement, Batch, BatchError, Blob, Cursor, NodeKey, ProducerId, Retention,
        SignedDescriptor, encode_to_bytes,
    },
    wire::{
        Acks, ClientRequest, Create, Gossip, Held, NodeRequest, Outcome, Publish, Published, Read,
        Refusal, Replicate, Request, Response, WireError,
    },
};
use bytes::Bytes;
use minicbor::{Decoder, Encoder, data::Type};

use super::{batch, cursor, frozen, key, records, terms};

/// Kinds of requests and of responses that no program uses yet.
const RESERVED_KINDS: std::ops::RangeInclusive<u32> = 40..=47;

/// Numbers of refusals that no program uses yet.
const RESERVED_REFUSALS: std::ops::RangeInclusive<u32> = 24..=31;

/// A key that no map has.
const UNKNOWN_KEY: u32 = 1_000;

/// Keys of maps above this one are data, and no fields.
const FIELDS_MAX: u64 = 40;

/// The same item with an unknown field in each map of fields.
pub(super) fn with_unknown_fields(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(bytes);
    copy(&mut decoder, &mut Encoder::new(&mut out));
    assert_eq!(decoder.position(), bytes.len());
    out
}

/// Whether the map at the decoder has fields: its keys are small integers.
fn has_fields(mut decoder: Decoder<'_>) -> bool {
    let length = decoder.map().unwrap().unwrap();
    (0..length).all(|_| {
        let is_field = decoder.u64().is_ok_and(|key| key <= FIELDS_MAX);
        is_field && decoder.skip().is_ok()
    })
}

fn copy(decoder: &mut Decoder<'_>, encoder: &mut Encoder<&mut Vec<u8>>) {
    match decoder.datatype().unwrap() {
        Type::Array => {
            let length = decoder.array().unwrap().unwrap();
            encoder.array(length).unwrap();
            (0..length).for_each(|_| copy(decoder, encoder));
        }
        Type::Map => {
            let has_fields = has_fields(decoder.clone());
            let length = decoder.map().unwrap().unwrap();
            encoder.map(length + u64::from(has_fields)).unwrap();
            (0..2 * length).for_each(|_| copy(decoder, encoder));
            if has_fields {
                encoder.u32(UNKNOWN_KEY).unwrap().array(2).unwrap().str("new").unwrap();
                encoder.map(1).unwrap().u32(0).unwrap().null().unwrap();
            }
        }
        _ => {
            let (input, begin) = (decoder.input(), decoder.position());
            decoder.skip().unwrap();
            encoder.writer_mut().extend_from_slice(&input[begin..decoder.position()]);
        }
    }
}

/// More fields than any kind has.
const FIELDS: u64 = 8;

/// `[kind, [fields…]]` with an unknown field behind all that are known.
pub(super) fn with_one_more_field(bytes: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(bytes);
    assert_eq!(decoder.array().unwrap(), Some(2));
    let kind = decoder.u32().unwrap();
    let fields = decoder.array().unwrap().unwrap();
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    encoder.array(2).unwrap().u32(kind).unwrap().array(FIELDS + 1).unwrap();
    encoder.writer_mut().extend_from_slice(&bytes[decoder.position()..]);
    for _ in fields..FIELDS {
        encoder.null().unwrap();
    }
    encoder.str("new").unwrap();
    out
}

/// `[kind, ["…", 7]]`.
fn message(kind: u32) -> Bytes {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    encoder.array(2).unwrap().u32(kind).unwrap();
    encoder.array(2).unwrap().str("for people").unwrap().u32(7).unwrap();
    out.into()
}

#[test]
fn reserved_kinds_are_nobodys_and_are_known_as_unknown() {
    for kind in RESERVED_KINDS.chain([28, 29, 30, 31, 4_000_000_000]) {
        let unknown = |result| matches!(result, Err(WireError::Unknown(_)));
        assert!(unknown(Request::decode(&message(kind)).map(drop)), "request {kind}");
        assert!(unknown(Response::decode(&message(kind)).map(drop)), "response {kind}");
    }
    // A request that is not understood for another reason is no unknown one.
    let malformed = Request::decode(&message(1));
    assert!(matches!(malformed, Err(WireError::Malformed(_))), "{malformed:?}");
}

#[test]
fn reserved_refusals_are_nobodys_and_say_why_all_the_same() {
    let mut all = Vec::new();
    for number in RESERVED_REFUSALS.chain([4_000_000_000]) {
        let refusal = message(number);
        let refused = [&[0x82, 0x00, 0x81][..], &refusal].concat();
        let other = Refusal::Other { number, text: "for people".into() };
        assert_eq!(other.to_string(), "for people");
        let response = Response::decode(&refused.clone().into());
        assert_eq!(response, Ok(Response::Refused(other.clone())), "refusal {number}");
        // One of several outcomes does not spoil the others.
        let outcomes =
            [&[0x82, 0x11, 0x81, 0x82, 0x82, 0x00, 0x80][..], &refused_outcome(&refusal)];
        let outcomes = Response::decode(&outcomes.concat().into());
        let expected = vec![Outcome::Stored, Outcome::Refused(other.clone())];
        assert_eq!(outcomes, Ok(Response::Replicated(expected)));
        // It is passed on with what it says.
        let again = Response::Refused(other).encode();
        assert_eq!(Response::decode(&again), response);
        all.extend_from_slice(&again);
    }
    frozen("newer_refusals.hex", &all);
}

/// `[1, [refusal]]`.
fn refused_outcome(refusal: &[u8]) -> Vec<u8> {
    [&[0x82, 0x01, 0x81], refusal].concat()
}

#[test]
fn a_refusal_without_a_text_is_known_by_its_number() {
    for fields in [&[0x80][..], &[0x81, 0x07], &[0x82, 0xf6, 0x61, b'x']] {
        let bytes = [&[0x82, 0x00, 0x81, 0x82, 0x18, 26][..], fields].concat();
        let Ok(Response::Refused(refusal)) = Response::decode(&bytes.into()) else { panic!() };
        assert_eq!(refusal, Refusal::Other { number: 26, text: String::new() });
        assert!(refusal.to_string().contains("number 26"), "{refusal}");
    }
}

#[test]
fn what_a_refusal_says_is_bounded() {
    let other = Refusal::Other { number: 24, text: "ü".repeat(100_000) };
    let decoded = Response::decode(&Response::Refused(other).encode()).unwrap();
    let Response::Refused(Refusal::Other { text, .. }) = decoded else { panic!("{decoded:?}") };
    assert_eq!(text, "ü".repeat(256));
}

#[test]
fn gossip_of_an_unknown_kind_is_known_as_unknown() {
    for kind in 2..=u8::MAX {
        let message = [&[kind], &batch().bytes()[..]].concat();
        let result = Gossip::decode(message.into());
        assert!(matches!(result, Err(WireError::Unknown(_))), "{result:?}");
    }
    let result = Gossip::decode(Bytes::new());
    assert!(matches!(result, Err(WireError::Malformed(_))), "{result:?}");
}

/// The header of the batch with these bytes of one more field, signed.
fn with_header_field(field: &[u8]) -> Bytes {
    let header = encode_to_bytes(batch().header());
    let mut fields = header.to_vec();
    fields[0] += 1;
    fields.extend_from_slice(field);
    let signature = sign(b"antiphon/batch/1\0", &fields);
    let body = batch_body();
    envelope(&[&fields, &signature, &body])
}

fn sign(domain: &[u8], bytes: &[u8]) -> Vec<u8> {
    NodeKey::from_secret(&[1; 32]).sign(&[domain, bytes].concat()).to_vec()
}

fn batch_body() -> Vec<u8> {
    let batch = batch();
    let mut decoder = Decoder::new(batch.bytes());
    decoder.array().unwrap();
    decoder.skip().unwrap();
    decoder.skip().unwrap();
    decoder.bytes().unwrap().to_vec()
}

fn envelope(parts: &[&[u8]]) -> Bytes {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    encoder.array(parts.len() as u64).unwrap();
    for part in parts {
        encoder.bytes(part).unwrap();
    }
    out.into()
}

#[test]
fn a_batch_with_reserved_fields_is_read_and_one_with_another_form_of_its_body_is_not() {
    // 13, 14 and 16 are about something else than how the body is read.
    for field in [&[0x0d, 0x41, 7][..], &[0x0e, 0x82, 1, 2], &[0x10, 0x80], &[0x18, 99, 0xf6]] {
        let bytes = with_header_field(field);
        let read = Batch::verify(bytes.clone()).unwrap();
        assert_eq!(read.bytes(), &bytes, "it stays as it was signed");
        assert_eq!(read.records_bytes(), batch().records_bytes());
    }
    let formed = with_header_field(&[0x0f, 0x01]);
    let unknown = BatchError::Newer("form of its body");
    assert_eq!(Batch::verify(formed.clone()).err(), Some(unknown.clone()));
    assert_eq!(Announcement::verify(&formed).err(), Some(unknown));
    // Nobody is blamed for it.
    let gossip = Gossip::decode([&[0][..], &formed].concat().into());
    assert!(matches!(gossip, Err(WireError::Unknown(_))), "{gossip:?}");
    let replicate =
        [&[0x82, 0x11, 0x81, 0xa2, 0x00, 0x80, 0x01, 0x81][..], &blob(&formed)].concat();
    let replicate = Request::decode(&replicate.into());
    assert!(matches!(replicate, Err(WireError::Unknown(_))), "{replicate:?}");
    frozen("newer_batch.hex", &[&with_header_field(&[0x0e, 0x82, 1, 2])[..], &formed].concat());
}

fn blob(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(&mut out).bytes(bytes).unwrap();
    out
}

#[test]
fn a_batch_of_a_newer_version_or_compression_is_known_as_such() {
    let header = encode_to_bytes(batch().header());
    let place = header.windows(2).rposition(|pair| pair == [0x0b, 0x00]).unwrap();
    let changed = |at: usize, to| {
        let mut header = header.to_vec();
        header[at] = to;
        let signature = sign(b"antiphon/batch/1\0", &header);
        Batch::verify(envelope(&[&header, &signature, &batch_body()])).err()
    };
    assert_eq!(header[1..3], [0x00, 0x01]);
    assert_eq!(changed(2, 2), Some(BatchError::Version(2)));
    assert_eq!(changed(place + 1, 2), Some(BatchError::Newer("compression")));
}

#[test]
fn a_descriptor_with_unknown_fields_is_read_and_stays_as_it_was_signed() {
    let newer = with_unknown_fields(&encode_to_bytes(&terms()));
    let signature = sign(b"antiphon/descriptor/1\0", &newer);
    let bytes = envelope(&[&newer, &signature]);
    let signed = SignedDescriptor::verify(bytes.clone()).unwrap();
    assert_eq!(*signed.descriptor(), terms());
    assert_eq!(*signed.bytes(), bytes);
    assert_eq!(signed.descriptor().creator, key().node());
}

/// A map with these fields more, whose values are such as no field has.
fn with_fields(map: &[u8], keys: &[u32]) -> Vec<u8> {
    let mut decoder = Decoder::new(map);
    let length = decoder.map().unwrap().unwrap();
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    encoder.map(length + keys.len() as u64).unwrap();
    encoder.writer_mut().extend_from_slice(&map[decoder.position()..]);
    for key in keys {
        encoder.u32(*key).unwrap().array(1).unwrap().str("reserved").unwrap();
    }
    out
}

/// A message of one field, which is a map, with these fields more.
fn with_fields_of_message(message: &[u8], keys: &[u32]) -> Bytes {
    let mut decoder = Decoder::new(message);
    assert_eq!(decoder.array().unwrap(), Some(2));
    decoder.skip().unwrap();
    assert_eq!(decoder.array().unwrap(), Some(1));
    let (head, map) = message.split_at(decoder.position());
    [head, &with_fields(map, keys)].concat().into()
}

#[test]
fn reserved_fields_of_messages_are_nobodys() {
    let name = || "earthquakes".parse().unwrap();
    let publish = Publish {
        topic: name(),
        producer: ProducerId([4; 16]),
        first: 7,
        records: Blob(records()),
        acks: Acks::All,
        timeout_ms: 10_000,
        retried: true,
    };
    let read = Read { topic: name(), after: cursor(), until: None, bytes_max: 1, wait_ms: 0 };
    let replicate = Replicate { batches: vec![batch()], ..Replicate::default() };
    for (request, keys) in [
        (Request::Client(ClientRequest::Create(Create::new(name()))), &[6][..]),
        (Request::Client(ClientRequest::Publish(publish)), &[7, 8, 9, 10]),
        (Request::Client(ClientRequest::Read(read)), &[5, 6, 7]),
        (Request::Node(NodeRequest::Replicate(replicate)), &[4]),
    ] {
        let newer = with_fields_of_message(&request.encode(), keys);
        assert_eq!(Request::decode(&newer).as_ref(), Ok(&request), "{keys:?}");
    }
    let published = Published { too_few_nodes: true, duplicate: true, ..Published::default() };
    let held = Held { keeps: true, ..Held::default() };
    for (response, keys) in
        [(Response::Published(published), &[7, 8, 9][..]), (Response::Held(held), &[6])]
    {
        let newer = with_fields_of_message(&response.encode(), keys);
        assert_eq!(Response::decode(&newer).as_ref(), Ok(&response), "{keys:?}");
    }
}

#[test]
fn reserved_fields_of_terms_are_nobodys() {
    let terms = encode_to_bytes(&terms());
    let newer = with_fields(&terms, &[13, 14, 15, 16, 18]);
    let signature = sign(b"antiphon/descriptor/1\0", &newer);
    let signed = SignedDescriptor::verify(envelope(&[&newer, &signature])).unwrap();
    assert_eq!(*signed.descriptor(), super::terms());
    let retention = Retention { records: Some(7), ..Retention::default() };
    let newer = with_fields(&encode_to_bytes(&retention), &[4, 5]);
    assert_eq!(minicbor::decode::<Retention>(&newer).unwrap(), retention);
}

#[test]
fn a_cursor_with_an_offset_is_read_without_it() {
    let plain = encode_to_bytes(&cursor());
    let newer = [&[0x83][..], &plain[1..], &[0x18, 42]].concat();
    assert_eq!(plain[0], 0x82);
    assert_eq!(minicbor::decode::<Cursor>(&newer).unwrap(), cursor());
    frozen("newer_cursor.hex", &newer);
}
