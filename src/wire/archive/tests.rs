use super::*;
use crate::model::{
    Descriptor, Draft, Hash, Incarnation, LogId, NodeKey, Previous, ProducerId, Record, Run, Stamp,
    WallClock, encode_record,
};

const LOG: Incarnation = Incarnation(5);

fn key() -> NodeKey {
    NodeKey::from_secret(&[1; 32])
}

fn opening() -> Opening {
    let created = Stamp::at(WallClock(5));
    let descriptor = Descriptor::new("quakes".parse().unwrap(), key().node(), created);
    let descriptor = descriptor.sign(&key()).unwrap();
    let topic = descriptor.descriptor().id(&Network::default().into());
    Opening::new(Network::default(), descriptor, topic)
}

fn sealed(first: u64, previous: Option<Hash>, payload: &str) -> Batch {
    let mut body = Vec::new();
    encode_record(&Record::new(WallClock(1), payload.as_bytes().to_vec()), &mut body).unwrap();
    let draft = Draft {
        topic: opening().topic(),
        incarnation: LOG,
        previous: previous.map(|hash| Previous { incarnation: LOG, next: first, hash }),
        stamp: Stamp::at(WallClock(3)),
        runs: vec![Run { producer: ProducerId([4; 16]), first, count: 1 }],
    };
    draft.seal(&body.into(), &key())
}

fn chain(payloads: &[&str]) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for (first, payload) in (0..).zip(payloads) {
        let previous = batches.last().map(Batch::hash);
        batches.push(sealed(first, previous, payload));
    }
    batches
}

/// A batch, filed under the branch that it begins.
fn root(batch: &Batch) -> Batch {
    batch.clone().filed(Incarnation::of_branch(batch.hash()))
}

/// An archive of two batches, a fork with both its branches, and a gap behind one of them.
fn sections() -> Vec<Section> {
    let batches = chain(&["a", "b", "c"]);
    let twin = sealed(2, Some(batches[1].hash()), "d");
    let log = root(&twin).log();
    let range = LogRange { log, from: 3, to: 9 };
    vec![
        Section::Opening(Box::new(opening())),
        Section::Batch(batches[0].clone()),
        Section::Batch(batches[1].clone()),
        Section::Fork(ForkProof::of(&batches[2], &twin).unwrap()),
        Section::Batch(root(&batches[2])),
        Section::Batch(root(&twin)),
        Section::Passed(Passed { range, trimmed: true }),
    ]
}

fn archive(sections: &[Section]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut bytes = Vec::new();
    for section in sections {
        bytes.extend_from_slice(&encoder.encode(section).unwrap());
    }
    bytes.extend_from_slice(&encoder.finish().unwrap());
    bytes
}

/// Reads bytes that come a few at a time: the sections, and how it ended.
fn read(bytes: &[u8], at_a_time: usize) -> (Vec<Section>, Decoder, Result<(), ArchiveError>) {
    let (mut decoder, mut sections) = (Decoder::default(), Vec::new());
    let mut buffer = BytesMut::new();
    for part in bytes.chunks(at_a_time.max(1)) {
        buffer.extend_from_slice(part);
        loop {
            match decoder.next(&mut buffer) {
                Ok(Some(section)) => sections.push(section),
                Ok(None) => break,
                Err(error) => return (sections, decoder, Err(error)),
            }
        }
    }
    let end = decoder.finish();
    (sections, decoder, end)
}

#[test]
fn what_is_written_is_read_however_the_bytes_come() {
    let (written, bytes) = (sections(), archive(&sections()));
    for at_a_time in [1, 7, 100, bytes.len()] {
        let (sections, decoder, end) = read(&bytes, at_a_time);
        assert_eq!(end, Ok(()));
        assert_eq!(sections[..written.len()], written);
        let contents = decoder.contents();
        assert_eq!((contents.batches(), contents.records()), (4, 4));
        assert_eq!(contents.forks().len(), 1);
    }
}

#[test]
fn where_it_is_cut_off_it_is_known_and_can_be_gone_on_with() {
    let whole = archive(&sections());
    for length in 0..whole.len() {
        let (sections, decoder, end) = read(&whole[..length], usize::MAX);
        assert_eq!(end, Err(ArchiveError::Truncated), "{length} bytes");
        let position = usize::try_from(decoder.position()).unwrap();
        assert!(position <= length);
        // What follows is written as if nothing had happened.
        let mut bytes = whole[..position].to_vec();
        let mut encoder = decoder.into_encoder();
        if sections.is_empty() {
            bytes.clear();
        }
        for section in &self::sections()[sections.len()..] {
            bytes.extend_from_slice(&encoder.encode(section).unwrap());
        }
        bytes.extend_from_slice(&encoder.finish().unwrap());
        assert!(bytes == whole, "{length} bytes");
    }
}

#[test]
fn a_whole_one_is_gone_on_with_in_place_of_its_end_mark() {
    let whole = archive(&sections());
    let (_, decoder, _) = read(&whole, usize::MAX);
    let mut bytes = whole[..usize::try_from(decoder.position()).unwrap()].to_vec();
    bytes.extend_from_slice(&decoder.into_encoder().finish().unwrap());
    assert!(bytes == whole);
}

#[test]
fn every_changed_byte_is_found() {
    let whole = archive(&sections());
    for position in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 1 << (position % 8);
        let (sections, decoder, end) = read(&damaged, usize::MAX);
        assert!(end.is_err(), "byte {position}");
        let good = usize::try_from(decoder.position()).unwrap();
        assert!(good <= position || sections.is_empty(), "byte {position}");
    }
}

#[test]
fn a_section_that_is_missing_or_twice_there_is_found() {
    let mut encoder = Encoder::default();
    let mut parts: Vec<_> = sections().iter().map(|it| encoder.encode(it).unwrap()).collect();
    parts.push(encoder.finish().unwrap());
    for at in 1..parts.len() {
        let mut fewer = parts.clone();
        fewer.remove(at);
        assert!(read(&fewer.concat(), usize::MAX).2.is_err(), "without section {at}");
        let mut more = parts.clone();
        more.insert(at, parts[at].clone());
        assert!(read(&more.concat(), usize::MAX).2.is_err(), "section {at} twice");
    }
}

#[test]
fn what_is_none_is_told_from_what_is_damaged() {
    let end = |bytes: &[u8]| read(bytes, usize::MAX).2;
    assert_eq!(end(b"{\"payload\":\"a\"}\n"), Err(ArchiveError::NotAnArchive));
    assert_eq!(end(b""), Err(ArchiveError::Truncated));
    let mut other = archive(&sections());
    other[MAGIC.len() - 2] = b'2';
    assert_eq!(end(&other), Err(ArchiveError::Version));
    let mut more = archive(&sections());
    more.push(0);
    assert_eq!(end(&more), Err(ArchiveError::Trailing));
    // A length that is only claimed.
    let claimed = [MAGIC, &[2, 0xff, 0xff, 0xff, 0xff]].concat();
    assert!(matches!(end(&claimed), Err(ArchiveError::TooLarge(..))));
    assert_eq!(end(&[MAGIC, &[9, 0, 0, 0, 0]].concat()), Err(ArchiveError::Kind(9)));
}

#[test]
fn what_is_no_export_of_a_topic_is_not_written() {
    let batches = chain(&["a", "b", "c"]);
    let section = |batch: &Batch| Section::Batch(batch.clone());
    let refused = |sections: &[Section]| {
        let mut encoder = Encoder::default();
        let results: Vec<_> = sections.iter().map(|it| encoder.encode(it)).collect();
        let (last, others) = results.split_last().unwrap();
        assert!(others.iter().all(Result::is_ok), "{others:?}");
        last.clone().unwrap_err()
    };
    let opened = Section::Opening(Box::new(opening()));
    assert_eq!(refused(&[section(&batches[0])]), ArchiveError::Misplaced);
    assert_eq!(refused(&[opened.clone(), opened.clone()]), ArchiveError::Misplaced);
    assert_eq!(refused(&[opened.clone(), section(&batches[1])]), ArchiveError::Order);
    let with_gap = [opened.clone(), section(&batches[0]), section(&batches[2])];
    assert_eq!(refused(&with_gap), ArchiveError::Order);
    let other_chain = [opened.clone(), section(&sealed(0, None, "x")), section(&batches[1])];
    assert_eq!(refused(&other_chain), ArchiveError::Order);
    let unproven = [opened.clone(), section(&root(&batches[0]))];
    assert_eq!(refused(&unproven), ArchiveError::Unproven);
    let draft = Draft { topic: TopicId::from_bytes([9; 32]), ..Draft::of(batches[0].header()) };
    let foreign = draft.seal(&batches[0].records_bytes(), &key());
    assert_eq!(refused(&[opened.clone(), section(&foreign)]), ArchiveError::Foreign);
    let twin = sealed(1, Some(batches[0].hash()), "x");
    let proof = Section::Fork(ForkProof::of(&batches[1], &twin).unwrap());
    let beyond = [opened.clone(), section(&batches[0]), section(&batches[1]), proof.clone()];
    assert_eq!(refused(&beyond), ArchiveError::BeyondFork);
    let behind = [opened.clone(), section(&batches[0]), proof, section(&batches[1])];
    assert_eq!(refused(&behind), ArchiveError::BeyondFork);
    let log = LogId { writer: key().node(), incarnation: LOG };
    let passed =
        |from, to| Section::Passed(Passed { range: LogRange { log, from, to }, trimmed: false });
    assert_eq!(refused(&[opened.clone(), passed(1, 2)]), ArchiveError::Order);
    assert_eq!(refused(&[opened.clone(), passed(0, 0)]), ArchiveError::Order);
    let end = End { cursor: Cursor::start(opening().topic()), batches: 1, records: 0 };
    assert_eq!(refused(&[opened, Section::End(end)]), ArchiveError::End);
}

/// The bytes of an archive with a section of this kind behind the first batch.
fn with_section(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut bytes = Vec::new();
    for section in &sections()[..2] {
        bytes.extend_from_slice(&encoder.encode(section).unwrap());
    }
    bytes.extend_from_slice(&section_of(kind, payload, &mut encoder.chain));
    for section in &sections()[2..] {
        bytes.extend_from_slice(&encoder.encode(section).unwrap());
    }
    bytes.extend_from_slice(&encoder.finish().unwrap());
    bytes
}

fn section_of(kind: u8, payload: &[u8], chain: &mut Chain) -> Vec<u8> {
    let mut head = [kind, 0, 0, 0, 0];
    head[1..].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    *chain = chained(chain, &head, payload);
    [&head[..], payload, &chain[..CHECKSUM_BYTES]].concat()
}

fn read_all(bytes: &[u8]) -> Result<Vec<Section>, ArchiveError> {
    let (mut decoder, mut rest) = (Decoder::default(), BytesMut::from(bytes));
    let mut all = Vec::new();
    while let Some(section) = decoder.next(&mut rest)? {
        all.push(section);
    }
    decoder.finish()?;
    Ok(all)
}

#[test]
fn sections_of_newer_programs_are_skipped_from_kind_64_on_and_refused_below() {
    let plain = read_all(&archive(&sections()));
    for kind in [64, 100, 255] {
        let bytes = with_section(kind, b"something new");
        assert_eq!(read_all(&bytes), plain, "kind {kind}");
        // They are covered by the checksums like any other.
        let place = bytes.windows(9).position(|part| part == b"something").unwrap();
        let mut damaged = bytes;
        damaged[place] ^= 1;
        assert_eq!(read_all(&damaged), Err(ArchiveError::Checksum));
    }
    for kind in [0, 7, 8, 63] {
        assert_eq!(read_all(&with_section(kind, b"new")), Err(ArchiveError::Kind(kind)));
    }
    let large = vec![0; ARCHIVE_SKIPPED_BYTES_MAX + 1];
    let limit = ARCHIVE_SKIPPED_BYTES_MAX;
    assert_eq!(read_all(&with_section(64, &large)), Err(ArchiveError::TooLarge(limit + 1, limit)));
    let first = [MAGIC, &section_of(64, b"new", &mut Chain::default())].concat();
    assert_eq!(read_all(&first), Err(ArchiveError::Misplaced));
}

#[test]
fn an_archive_with_a_skipped_section_is_continued_behind_it() {
    let whole = with_section(70, b"new");
    let cut = whole.len() - 20;
    let (mut decoder, mut rest) = (Decoder::default(), BytesMut::from(&whole[..cut]));
    while let Ok(Some(_)) = decoder.next(&mut rest) {}
    let kept = usize::try_from(decoder.position()).unwrap();
    let contents = decoder.contents().batches();
    let mut encoder = decoder.into_encoder();
    assert!(contents > 0);
    let again = [&whole[..kept], &encoder.finish().unwrap()].concat();
    assert!(read_all(&again).is_ok());
}

#[test]
fn the_archive_of_a_closed_network_names_its_topic() {
    let Opening { network, descriptor, .. } = opening();
    let by_name = opening().topic();
    for topic in [by_name, TopicId::from_bytes([7; 32])] {
        let opening = Opening::new(network.clone(), descriptor.clone(), topic);
        let section = Section::Opening(Box::new(opening.clone()));
        let Ok(Some(Section::Opening(read))) = Section::decode(1, &section.payload()) else {
            panic!("it is an opening")
        };
        assert_eq!((*read, opening.topic()), (opening, topic));
    }
    // As a program wrote it that knew of open networks alone.
    let before = encode_to_bytes(&(network.as_str(), Blob(descriptor.bytes().clone())));
    assert_eq!(Section::Opening(Box::new(opening())).payload(), before);
}
