//! Flipped bits, and parts of segments that are gone.

use super::*;

/// A store with groups of every kind of frame, closed by one more group; the frames of its
/// segment.
fn small_store(
    directory: &Path,
    author: &mut Author,
) -> (Vec<u8>, Vec<(Kind, std::ops::Range<usize>)>) {
    let store = open(directory);
    store.commit(&[author.append(1), author.append(2)]).unwrap();
    store.put_fact("port", b"4001").unwrap();
    store.commit(&[author.append(3)]).unwrap();
    store.commit(&[author.append(4)]).unwrap();
    let salt = store.salt;
    drop(store);
    let bytes = fs::read(segment_path(directory, 1)).unwrap();
    let frames = frames(&bytes, salt, 1);
    (bytes, frames)
}

fn with_segment(directory: &Path, bytes: &[u8]) -> tempfile::TempDir {
    let copied = tempfile::tempdir().unwrap();
    copy(directory, copied.path());
    fs::write(segment_path(copied.path(), 1), bytes).unwrap();
    copied
}

#[test]
fn each_flipped_bit_costs_the_batch_that_it_hits_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (bytes, frames) = small_store(directory.path(), &mut author);
    let batches: Vec<_> =
        frames.iter().filter(|(kind, _)| *kind == Kind::Batch).map(|(_, at)| at.clone()).collect();
    assert_eq!(batches.len(), 4);
    let last_group = batches[3].start..frames.last().unwrap().1.end;
    let is_interesting = |at: usize| {
        let Some((_, range)) = frames.iter().find(|(_, range)| range.contains(&at)) else {
            return at.is_multiple_of(26);
        };
        at.is_multiple_of(if at < range.start + HEAD_BYTES { 7 } else { 97 })
    };
    for at in (0..written(&bytes)).filter(|at| is_interesting(*at)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let copied = with_segment(directory.path(), &damaged);
        let hit = batches.iter().position(|range| range.contains(&at)).map(|hit| hit as u64);
        let spans = |without: Option<u64>| match without {
            None => vec![(0, 12)],
            Some(0) => vec![(3, 12)],
            Some(3) => vec![(0, 9)],
            Some(hit) => vec![(0, 3 * hit), (3 * hit + 3, 12)],
        };
        // With its index: a read finds it, and only there.
        let store = open(copied.path());
        let checked = store.check(topic(), &author.range(0, 12), usize::MAX).unwrap();
        let found: Vec<_> = checked.damages.iter().map(|damage| damage.first / 3).collect();
        let is_trusted = !last_group.contains(&at) || hit.is_some();
        if is_trusted {
            let expected: Vec<_> = hit.into_iter().collect();
            let known = claims(&log(&store, &author)) == [(0, 12)];
            assert!(!known || found == expected, "byte {at}: {found:?}");
        }
        drop(store);
        // Without it, what is damaged is not claimed; of the last group nothing, as it cannot be
        // told from one that was never finished.
        lose_index(copied.path());
        let store = open(copied.path());
        let expected = if last_group.contains(&at) { spans(Some(3)) } else { spans(hit) };
        assert_eq!(held(&store, &author), expected, "byte {at}");
    }
}

#[test]
fn parts_that_are_gone_cost_what_was_in_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    let mut time = 0;
    while store.writer().end.0 < 4 {
        time += 1;
        let batch = author.seal(time, 1, 4_000);
        store.commit(&[author.store(batch)]).unwrap();
    }
    let entries = store.ask(|index| index.all_batches().collect::<Result<Vec<_>, _>>()).unwrap();
    drop(store);
    let bytes = fs::read(segment_path(directory.path(), 2)).unwrap();
    let half = written(&bytes) / 2;
    let zeroed = [vec![0; half], bytes[half..].to_vec()].concat();
    let other_half = [bytes[..half].to_vec(), vec![0; bytes.len() - half]].concat();
    for (what, damaged) in
        [("cut", bytes[..half].to_vec()), ("first half", zeroed), ("second half", other_half)]
    {
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path());
        fs::write(segment_path(copied.path(), 2), &damaged).unwrap();
        let is_whole = |entry: &Entry| {
            let range = entry.offset as usize..(entry.offset + entry.length) as usize;
            entry.segment != 2 || damaged.get(range.clone()) == bytes.get(range)
        };
        let whole: Vec<_> = entries
            .iter()
            .filter(|(_, entry)| is_whole(entry))
            .map(|(place, _)| place.first)
            .collect();
        assert!(whole.len() < entries.len() && whole.len() > entries.len() / 2, "{what}");
        let readable = |store: &SegmentStore| -> Vec<_> {
            (0..time).filter(|at| read(store, &author, *at, *at + 1).1).collect()
        };
        let store = open(copied.path());
        assert_eq!(readable(&store), whole, "{what}");
        drop(store);
        lose_index(copied.path());
        let store = open(copied.path());
        assert_eq!(readable(&store), whole, "{what}, without the index");
        assert_eq!(log(&store, &author).records(), whole.len() as u64, "{what}");
        drop(store);
    }
}

#[test]
fn the_only_segment_may_lose_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (mut bytes, frames) = small_store(directory.path(), &mut author);
    let third = frames.iter().filter(|(kind, _)| *kind == Kind::Batch).nth(2).unwrap().1.start;
    bytes[..third].fill(0);
    let copied = with_segment(directory.path(), &bytes);
    lose_index(copied.path());
    let store = open(copied.path());
    assert_eq!(held(&store, &author), [(6, 12)]);
    assert_eq!(store.fact("port"), Ok(None));
    author.log = log(&store, &author);
    store.commit(&[author.append(9)]).unwrap();
    drop(store);
    assert_eq!(held(&open(copied.path()), &author), [(6, 15)]);
}

#[test]
fn what_cannot_be_read_at_all_is_put_aside_and_not_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (bytes, _) = small_store(directory.path(), &mut author);
    let mut random = fastrand::Rng::with_seed(5);
    let noise: Vec<u8> = bytes.iter().map(|_| random.u8(..)).collect();
    let copied = with_segment(directory.path(), &noise);
    let store = open(copied.path());
    assert!(store.recover().unwrap().logs.is_empty());
    let aside = copied.path().join("segments/00000001.damaged");
    assert_eq!(fs::read(aside).unwrap(), noise);
    store.commit(&[author.append(9)]).unwrap();
}

#[test]
fn damage_is_told_quarantined_and_healed() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (mut bytes, frames) = small_store(directory.path(), &mut author);
    let batches: Vec<_> = frames.iter().filter(|(kind, _)| *kind == Kind::Batch).collect();
    bytes[batches[1].1.end - 10] ^= 4;
    fs::write(segment_path(directory.path(), 1), &bytes).unwrap();
    let store = open(directory.path());
    let damage = author.damage(&author.batches[1].clone());
    assert_eq!(damage.previous, Some((author.batches[0].hash(), author.batches[0].header().stamp)));
    let reading = store.read(topic(), &[author.range(0, 12)], &Early::none(), usize::MAX).unwrap();
    assert_eq!(reading.damages, [damage]);
    assert_eq!(reading.page.batches, author.batches[..1]);
    assert_eq!(read(&store, &author, 6, 12), (vec![6, 9], true), "what follows is there");
    assert_eq!(store.scrub(None, usize::MAX).unwrap().damages, [damage]);
    let checked = store.check(topic(), &author.range(0, 12), usize::MAX).unwrap();
    assert_eq!((checked.damages, checked.checked.to), (vec![damage], 12));
    // The engine's answer: it is no longer counted, and no longer found.
    store.commit(&[author.quarantine(&damage)]).unwrap();
    assert_eq!(held(&store, &author), [(0, 3), (6, 12)]);
    assert_eq!(store.scrub(None, usize::MAX).unwrap().damages, []);
    assert_eq!(
        store.read(topic(), &[author.range(0, 12)], &Early::none(), usize::MAX).unwrap().damages,
        []
    );
    drop(store);
    lose_index(directory.path());
    let store = open(directory.path());
    assert_eq!(held(&store, &author), [(0, 3), (6, 12)]);
    let batch = author.batches[1].clone();
    store.commit(&[author.store(batch)]).unwrap();
    assert_eq!(held(&store, &author), [(0, 12)]);
    drop(store);
    lose_index(directory.path());
    assert_eq!(held(&open(directory.path()), &author), [(0, 12)]);
}

#[test]
fn a_scrub_goes_through_all_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (mut bytes, frames) = small_store(directory.path(), &mut author);
    for (_, range) in frames.iter().filter(|(kind, _)| *kind == Kind::Batch) {
        bytes[range.start + HEAD_BYTES + BATCH_START_BYTES + 70] ^= 1;
    }
    fs::write(segment_path(directory.path(), 1), &bytes).unwrap();
    let store = open(directory.path());
    let (mut position, mut found) = (None, Vec::new());
    loop {
        let scrubbed = store.scrub(position, 1).unwrap();
        found.extend(scrubbed.damages.iter().map(|damage| damage.first));
        position = scrubbed.next;
        if position.is_none() {
            break;
        }
        assert_eq!(scrubbed.damages.len(), 1, "one at a time");
    }
    assert_eq!(found, [0, 3, 6, 9]);
}

#[test]
fn arbitrary_segments_are_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (bytes, _) = small_store(directory.path(), &mut author);
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..40 {
        let mut damaged = bytes.clone();
        let end = written(&bytes);
        for _ in 0..random.usize(1..6) {
            let (from, to) = (random.usize(0..end), random.usize(0..end));
            match random.u8(0..4) {
                0 => random.fill(&mut damaged[from..(from + 50).min(end)]),
                1 => damaged.copy_within(from..(from + 200).min(end), to),
                2 => damaged[from] ^= 1 << random.u8(0..8),
                _ => damaged[from..(from + 90).min(end)].fill(0),
            }
        }
        if round % 10 == 0 {
            random.fill(&mut damaged);
        }
        let copied = with_segment(directory.path(), &damaged);
        if round % 2 == 0 {
            lose_index(copied.path());
        }
        let store = open(copied.path());
        let mut other = Author::new(2, topic());
        store.commit(&[other.append(1)]).unwrap();
        assert_eq!(held(&store, &other), [(0, 3)]);
        let expected = content(&store);
        if round % 2 == 0 {
            held(&store, &author);
            drop(store);
            lose_index(copied.path());
            assert_eq!(content(&open(copied.path())), expected, "round {round}");
        }
    }
}

#[test]
fn a_record_that_looks_like_frames_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let (bytes, frames) = small_store(directory.path(), &mut author);
    // Somebody has read this disk once, and publishes what was on it; but no one knows the salt.
    let store = open(directory.path());
    let forged = {
        let mut group = Group::new(store.salt ^ 1, 1, 0, 1_000);
        let state = (keys::index_key(Table::Facts, b"port"), Some(b"6666".to_vec()));
        let (kind, payload) = record::encode_state(&state);
        group.push(kind, &[&payload]);
        group.close(false);
        group.own
    };
    let end = store.writer().end.1;
    drop(store);
    let mut damaged = bytes;
    let second = frames.iter().filter(|(kind, _)| *kind == Kind::Batch).nth(1).unwrap().1.clone();
    damaged[second.start + 3] ^= 1;
    let place = second.start + HEAD_BYTES + 4;
    let length = forged.len().min(second.end - place);
    damaged[place..place + length].copy_from_slice(&forged[..length]);
    assert!(place + length < end);
    fs::write(segment_path(directory.path(), 1), &damaged).unwrap();
    lose_index(directory.path());
    let store = open(directory.path());
    assert_eq!(store.fact("port").unwrap(), Some(b"4001".to_vec()));
    assert_eq!(held(&store, &author), [(0, 3), (6, 12)]);
}

#[test]
fn damaged_batches_of_the_catalogue_are_left_out_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, catalogue());
    let (mut bytes, frames) = small_store(directory.path(), &mut author);
    let first = frames.iter().find(|(kind, _)| *kind == Kind::Batch).unwrap();
    bytes[first.1.end - 1] ^= 1;
    fs::write(segment_path(directory.path(), 1), &bytes).unwrap();
    let store = open(directory.path());
    assert_eq!(store.recover().unwrap().catalogue, author.batches[1..]);
    let damage = author.damage(&author.batches[0].clone());
    assert_eq!(store.maintain().unwrap().damages, [damage]);
    assert_eq!(store.maintain().unwrap().damages, [], "once");
}
