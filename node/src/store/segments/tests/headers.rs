//! What stays of trimmed batches: headers, without the space of the bodies.

use antiphon::engine::Write;

use super::{
    space::{fill_up_to, rebuilt, settle},
    *,
};

/// The batches whose headers can be read.
fn headers(store: &SegmentStore, author: &Author) -> Vec<u64> {
    let end = author.batches.last().map_or(0, |batch| batch.header().next());
    let mut found = Vec::new();
    for at in 0..end {
        let reading =
            store.read(topic(), &author.positions(at, at + 1), &Early::none(), 1).unwrap();
        assert!(reading.damages.is_empty());
        for header in &reading.page.headers {
            let first = header.header().first;
            let batch = author.batches.iter().find(|batch| batch.header().first == first).unwrap();
            assert_eq!(header.hash(), batch.hash());
            assert_eq!(header.bytes(), &batch.announcement());
            found.push(first);
        }
    }
    found.dedup();
    found
}

/// What of each segment is of use, by the accounts and by what the index points to.
fn assert_accounts(store: &SegmentStore, what: &str) {
    let mut expected = changes::Usage::new();
    let mut add = |segment: u32, bytes: u32| {
        *expected.entry(segment).or_default() += u64::from(bytes);
    };
    let entries = |index: &Index| -> Result<_, StoreError> {
        let batches: Result<Vec<_>, _> = index.all_batches().collect();
        let headers: Result<Vec<_>, _> = index.all_headers().collect();
        Ok((batches?, headers?))
    };
    let (batches, headers) = store.ask(entries).unwrap();
    for (_, entry) in batches {
        add(entry.segment, entry.length);
    }
    for (_, entry) in headers {
        add(entry.segment, entry.length - entry.body);
    }
    let usage = store.writer().usage.clone();
    let usage: changes::Usage = usage.into_iter().filter(|(_, live)| *live > 0).collect();
    assert_eq!(usage, expected, "{what}");
}

#[test]
fn bodies_go_and_headers_stay() {
    let directory = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    fill_up_to(&store, &mut one, 6);
    store.commit(&[two.append(1)]).unwrap();
    let last = one.batches[one.batches.len() - 2].clone();
    store.commit(&[one.let_go_to(&last)]).unwrap();
    let expected: Vec<_> = (0..one.batches.len() as u64 - 1).collect();
    assert_eq!(headers(&store, &one), expected);
    // A crash at any point, with and without the index.
    let before = segments(directory.path()).len();
    let mut steps = 0;
    loop {
        let busy = store.maintain().unwrap().busy;
        steps += 1;
        assert_accounts(&store, "while space is given back");
        assert_eq!(headers(&store, &one), expected, "step {steps}");
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path());
        let crashed = open(copied.path());
        assert_eq!(headers(&crashed, &one), expected, "step {steps}, after a crash");
        let (_rebuilt, again) = rebuilt(directory.path());
        assert_eq!(content(&again), content(&store), "step {steps}, rebuilt");
        assert_accounts(&again, "rebuilt");
        if !busy {
            break;
        }
    }
    let after = segments(directory.path());
    assert!(after.len() <= 4 && after.len() < before, "{before} before, {after:?}");
    // Also when the frame that let them go is gone, and headers move on.
    let end = store.writer().end.0;
    fill_up_to(&store, &mut two, end + 6);
    let last = two.batches.last().unwrap().clone();
    store.commit(&[two.drop_to(&last)]).unwrap();
    settle(&store);
    assert_eq!(headers(&store, &one), expected);
    assert_eq!(held(&store, &one), [(expected.len() as u64, expected.len() as u64 + 1)]);
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!(content(&again), content(&store));
    assert_eq!(headers(&again, &one), expected);
    assert_accounts(&again, "in the end");
}

#[test]
fn headers_that_are_not_kept_any_more_give_their_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    fill_up_to(&store, &mut one, 4);
    let last = one.batches.last().unwrap().clone();
    store.commit(&[one.let_go_to(&last)]).unwrap();
    fill_up_to(&store, &mut two, 8);
    settle(&store);
    let end = one.batches.len();
    assert_eq!(headers(&store, &one).len(), end);
    store.commit(&[one.delete()]).unwrap();
    settle(&store);
    assert_eq!(headers(&store, &one), [0; 0]);
    assert_accounts(&store, "deleted");
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!(headers(&again, &one), [0; 0]);
    assert_eq!(content(&again), content(&store));
    assert!(!again.recover().unwrap().logs[&topic()].contains_key(&one.log_id()));
}

#[test]
fn a_damaged_header_is_forgotten_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    store.commit(&[one.append(1), one.append(2)]).unwrap();
    let last = one.batches[1].clone();
    store.commit(&[one.let_go_to(&last)]).unwrap();
    fill_up_to(&store, &mut two, 5);
    let path = segment_path(directory.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let place = Place::of(&one.batches[0]);
    let entry = store.ask(|index| index.header(&place)).unwrap().unwrap();
    bytes[entry.offset as usize + HEAD_BYTES + 60] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(headers(&store, &one), [3]);
    let mut after = None;
    loop {
        let scrubbed = store.scrub(after, 1 << 20).unwrap();
        assert!(scrubbed.damages.is_empty(), "nobody held it");
        after = scrubbed.next;
        if after.is_none() {
            break;
        }
    }
    let last = two.batches.last().unwrap().clone();
    store.commit(&[two.drop_to(&last)]).unwrap();
    settle(&store);
    assert!(!path.exists(), "it keeps no segment");
    assert!(store.maintain().unwrap().damages.is_empty());
    assert_eq!(headers(&store, &one), [3]);
    assert_accounts(&store, "after damage");
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!(content(&again), content(&store));
}

#[test]
fn where_the_cut_is_lost_the_log_says_what_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = open(directory.path());
    for time in 0..4 {
        let write = one.append(time);
        store.commit(&[write]).unwrap();
    }
    let third = one.batches[2].clone();
    store.commit(&[one.let_go_to(&third)]).unwrap();
    let cut_in = store.writer().end.0;
    // Checkpoints follow that have the log as it is then.
    fill_up_to(&store, &mut two, 4);
    let expected = (headers(&store, &one), log(&store, &one));
    drop(store);
    let path = segment_path(directory.path(), cut_in);
    let mut bytes = fs::read(&path).unwrap();
    let salt = open(directory.path()).salt;
    let frames = frames(&bytes, salt, cut_in);
    let (_, range) = frames.iter().find(|(kind, _)| *kind == Kind::Drop).unwrap();
    bytes[range.start + HEAD_BYTES] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!((headers(&again, &one), log(&again, &one)), expected);
    assert_accounts(&again, "without the frame of the cut");
}

/// Of what a program cut that kept no headers none is claimed, though its frames are there.
#[test]
fn what_was_cut_before_headers_were_kept_has_none() {
    let directory = tempfile::tempdir().unwrap();
    let mut author = Author::new(1, topic());
    let store = open(directory.path());
    store.commit(&[author.append(1), author.append(2), author.append(3)]).unwrap();
    let first = author.batches[0].clone();
    let Write::Drop { topic, log_id, from, to, .. } = author.drop_to(&first) else {
        unreachable!("it drops");
    };
    author.log.headers = None;
    let log = Some(author.log.clone());
    store.commit(&[Write::Drop { topic, log_id, from, to, log }]).unwrap();
    let second = author.batches[1].clone();
    store.commit(&[author.let_go_to(&second)]).unwrap();
    assert_eq!(headers(&store, &author), [3]);
    let (_copied, again) = rebuilt(directory.path());
    assert_eq!(headers(&again, &author), [3]);
    assert_eq!(content(&again), content(&store));
}
