//! What every store must do, run against each.

use std::{collections::BTreeMap, sync::Arc};

use antiphon::{
    engine::{Early, EarlyPart, Log, Pending, Write},
    limits::{HEADERS_KEPT_RECORDS, HEADERS_PER_PAGE_MAX},
    model::{
        Batch, Cursor, ForkProof, Incarnation, NodeId, NodeKey, Stamp, Subscription, WallClock,
        roster::{Admin, Charter, Door, MemberKind, Pass, Revocation, Statement},
    },
    wire::{Contact, LogRange, Page},
};

use super::{
    Checking, Reading, SegmentStore, Store,
    memory::MemoryStore,
    samples::{Author, catalogue, topic},
};

/// A store that can be closed and opened again.
trait Rig {
    fn open(&self) -> Arc<dyn Store>;
}

struct Memory(Arc<MemoryStore>);

impl Rig for Memory {
    fn open(&self) -> Arc<dyn Store> {
        Arc::<MemoryStore>::clone(&self.0)
    }
}

struct Segments(tempfile::TempDir);

impl Rig for Segments {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(SegmentStore::open(self.0.path(), catalogue(), None).unwrap())
    }
}

macro_rules! for_each_store {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[test]
            fn $test() {
                super::$test(&super::Memory(super::MemoryStore::new(super::catalogue()).into()));
            })*
        }
        mod segments {
            $(#[test]
            fn $test() {
                super::$test(&super::Segments(tempfile::tempdir().unwrap()));
            })*
        }
    };
}

for_each_store!(
    an_empty_store_is_empty,
    what_was_written_is_recovered,
    the_catalogue_is_recovered_with_its_batches,
    statements_of_a_roster_are_kept_in_place_of_others,
    logs_are_merged_by_stamp,
    a_log_keeps_its_order_whatever_its_stamps,
    what_is_early_comes_first_and_is_remembered,
    a_read_starts_within_a_batch,
    a_read_ends_with_its_range,
    a_page_is_bounded_and_never_empty,
    a_log_ends_at_a_hole,
    a_drop_keeps_the_batch_that_goes_on,
    a_drop_sees_what_was_written_with_it,
    a_dropped_log_can_come_back,
    a_branch_is_filed_apart,
    later_values_replace_earlier_ones,
    facts_are_kept,
    a_check_reads_a_range_in_parts,
    a_quarantined_batch_that_can_be_read_stays,
    of_what_was_let_go_the_headers_stay,
    headers_of_the_newest_records_stay,
    what_is_deleted_or_handed_over_leaves_no_header,
    a_page_has_so_many_headers_and_no_more,
);

fn read_page(store: &dyn Store, ranges: &[LogRange], bytes_max: usize) -> Page {
    let Reading { page, damages } = store.read(topic(), ranges, &Early::none(), bytes_max).unwrap();
    assert!(damages.is_empty(), "{damages:?}");
    page
}

fn firsts(page: &Page) -> Vec<u64> {
    page.batches.iter().map(|batch| batch.header().first).collect()
}

fn read(store: &dyn Store, author: &Author, from: u64, to: u64) -> (Vec<u64>, bool) {
    let page = read_page(store, &[author.range(from, to)], usize::MAX);
    (firsts(&page), page.finished)
}

fn contact(node: u8, address: &str) -> Contact {
    Contact::new(NodeId::from_bytes([node; 32]), vec![address.to_owned()])
}

fn an_empty_store_is_empty(rig: &dyn Rig) {
    let store = rig.open();
    let recovered = store.recover().unwrap();
    assert!(recovered.logs.is_empty() && recovered.catalogue.is_empty());
    assert!(recovered.subscriptions.is_empty() && recovered.contacts.is_empty());
    let author = Author::new(1, topic());
    assert_eq!(read(&*store, &author, 0, 1), (vec![], false));
    assert_eq!(read(&*store, &author, 3, 3), (vec![], true));
    assert_eq!(read_page(&*store, &[], 0), Page { finished: true, ..Page::default() });
    store.commit(&[]).unwrap();
}

fn what_was_written_is_recovered(rig: &dyn Rig) {
    let mut one = Author::new(1, topic());
    let mut two = Author::new(2, topic());
    let subscription = Subscription::new(3, Some(Cursor::start(topic())));
    let name = "billing".parse().unwrap();
    let writes = [
        one.append(1),
        two.append(2),
        one.append(3),
        Write::Subscription { topic: topic(), name, subscription: Some(subscription.clone()) },
        Write::Contact(contact(1, "/ip4/10.0.0.1/tcp/1")),
        Write::Contact(contact(2, "/ip4/10.0.0.2/tcp/1")),
    ];
    rig.open().commit(&writes).unwrap();
    let store = rig.open();
    let recovered = store.recover().unwrap();
    let logs = [(one.log_id(), one.log.clone()), (two.log_id(), two.log.clone())];
    assert_eq!(recovered.logs, [(topic(), logs.into())].into());
    let name = "billing".parse().unwrap();
    assert_eq!(recovered.subscriptions, [((topic(), name), subscription)].into());
    let addresses: Vec<_> =
        recovered.contacts.values().map(|contact| &contact.addresses[0]).collect();
    assert_eq!(addresses, ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1"]);
    assert!(recovered.catalogue.is_empty());
    let page = read_page(&*store, &[one.range(0, 6)], usize::MAX);
    let bytes = |batches: &[Batch]| -> Vec<_> {
        batches.iter().map(|batch| batch.bytes().clone()).collect()
    };
    assert_eq!(bytes(&page.batches), bytes(&one.batches));
}

fn the_catalogue_is_recovered_with_its_batches(rig: &dyn Rig) {
    let mut author = Author::new(1, catalogue());
    let mut other = Author::new(1, topic());
    rig.open().commit(&[author.append(1), other.append(2), author.append(3)]).unwrap();
    assert_eq!(rig.open().recover().unwrap().catalogue, author.batches);
}

fn logs_are_merged_by_stamp(rig: &dyn Rig) {
    let mut authors = [Author::new(1, topic()), Author::new(2, topic()), Author::new(3, topic())];
    let store = rig.open();
    for (index, time) in [(0, 10), (1, 10), (2, 5), (0, 20), (1, 15), (2, 30), (1, 40)] {
        store.commit(&[authors[index].append(time)]).unwrap();
    }
    let ranges: Vec<_> = authors.iter().map(|author| author.range(0, 6)).collect();
    let page = read_page(&*store, &ranges, usize::MAX);
    assert!(page.finished);
    let order = |batch: &Batch| (batch.header().stamp, batch.log());
    assert_eq!(page.batches.len(), 6);
    assert!(page.batches.is_sorted_by_key(order));
    let reversed: Vec<_> = ranges.into_iter().rev().collect();
    assert_eq!(read_page(&*store, &reversed, usize::MAX), page);
}

fn a_log_keeps_its_order_whatever_its_stamps(rig: &dyn Rig) {
    let mut one = Author::new(1, topic());
    let mut two = Author::new(2, topic());
    let store = rig.open();
    store.commit(&[one.append(50), one.append(1), two.append(20)]).unwrap();
    let page = read_page(&*store, &[one.range(0, 6), two.range(0, 3)], usize::MAX);
    assert_eq!(page.batches, [&two.batches[..], &one.batches].concat());
}

fn what_is_early_comes_first_and_is_remembered(rig: &dyn Rig) {
    let (mut one, mut two) = (Author::new(1, topic()), Author::new(2, topic()));
    let store = rig.open();
    store.commit(&[one.append(900), one.append(950), two.append(20), two.append(30)]).unwrap();
    let ranges = [one.range(0, 6), two.range(0, 6)];
    let shown = |early: &Early| store.read(topic(), &ranges, early, usize::MAX).unwrap().page;
    let in_order = [&two.batches[..], &one.batches].concat();
    let early_first = [&one.batches[..], &two.batches].concat();
    assert_eq!(shown(&Early::none()).batches, in_order);
    let after = Stamp::at(WallClock(100));
    assert_eq!(shown(&Early { after, ..Early::none() }).batches, early_first);
    let part = EarlyPart { first: 0, next: 6, since: WallClock(7) };
    let parts = BTreeMap::from([(one.log_id(), vec![part])]);
    assert_eq!(shown(&Early { parts, ..Early::none() }).batches, early_first);
    // What is remembered of a log is written with it, and nothing goes with that.
    let held = store.recover().unwrap().logs[&topic()][&one.log_id()].clone();
    let log = Log { early: vec![part], ..held };
    let (log_id, to) = (one.log_id(), log.low);
    store.commit(&[Write::Drop { topic: topic(), log_id, from: 0, to, log: Some(log) }]).unwrap();
    let store = rig_again(rig, store);
    assert_eq!(store.recover().unwrap().logs[&topic()][&log_id].early, [part]);
    assert_eq!(read(&*store, &one, 0, 6), (vec![0, 3], true));
}

fn a_read_starts_within_a_batch(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let store = rig.open();
    store.commit(&[author.append(1), author.append(2), author.append(3)]).unwrap();
    assert_eq!(read(&*store, &author, 0, 9), (vec![0, 3, 6], true));
    assert_eq!(read(&*store, &author, 2, 9), (vec![0, 3, 6], true));
    assert_eq!(read(&*store, &author, 3, 9), (vec![3, 6], true));
    assert_eq!(read(&*store, &author, 8, 9), (vec![6], true));
    assert_eq!(read(&*store, &author, 9, 12), (vec![], false));
}

fn a_read_ends_with_its_range(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let store = rig.open();
    store.commit(&[author.append(1), author.append(2), author.append(3)]).unwrap();
    assert_eq!(read(&*store, &author, 1, 3), (vec![0], true));
    assert_eq!(read(&*store, &author, 1, 4), (vec![0, 3], true));
    assert_eq!(read(&*store, &author, 4, 5), (vec![3], true));
    assert_eq!(read(&*store, &author, 4, 10), (vec![3, 6], false));
}

fn a_page_is_bounded_and_never_empty(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let store = rig.open();
    store.commit(&[author.append(1), author.append(2), author.append(3)]).unwrap();
    let size = author.batches[1].bytes().len();
    let bounded = |bytes_max| {
        let page = read_page(&*store, &[author.range(3, 9)], bytes_max);
        (firsts(&page), page.finished)
    };
    assert_eq!(bounded(0), (vec![3], false));
    assert_eq!(bounded(size), (vec![3], false));
    assert_eq!(bounded(size + 1), (vec![3], false));
    assert_eq!(bounded(2 * size), (vec![3, 6], true));
}

fn a_log_ends_at_a_hole(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let mut other = Author::new(2, topic());
    let batches: Vec<_> = (0..4).map(|time| author.seal(time, 3, 10)).collect();
    let store = rig.open();
    for index in [1, 3] {
        store.commit(&[author.store(batches[index].clone())]).unwrap();
    }
    store.commit(&[other.append(9)]).unwrap();
    assert_eq!(read(&*store, &author, 0, 12), (vec![], false));
    assert_eq!(read(&*store, &author, 3, 12), (vec![3], false));
    assert_eq!(read(&*store, &author, 3, 6), (vec![3], true));
    assert_eq!(read(&*store, &author, 6, 12), (vec![], false));
    assert_eq!(read(&*store, &author, 10, 12), (vec![9], true));
    let page = read_page(&*store, &[author.range(3, 12), other.range(0, 3)], usize::MAX);
    assert_eq!((firsts(&page), page.finished), (vec![3, 0], false), "the other log goes on");
    let filled = [author.store(batches[2].clone()), author.store(batches[0].clone())];
    store.commit(&filled).unwrap();
    assert_eq!(read(&*store, &author, 0, 12), (vec![0, 3, 6, 9], true));
}

fn a_drop_keeps_the_batch_that_goes_on(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let mut other = Author::new(2, topic());
    let store = rig.open();
    let writes = [author.append(1), author.append(2), author.append(3), other.append(4)];
    store.commit(&writes).unwrap();
    let log = author.log.clone();
    let log_id = author.log_id();
    let part = Write::Drop { topic: topic(), log_id, from: 0, to: 5, log: Some(log) };
    store.commit(&[part]).unwrap();
    assert_eq!(read(&*store, &author, 3, 9), (vec![3, 6], true), "record 5 is still there");
    assert_eq!(read(&*store, &author, 0, 9), (vec![], false));
    let batch = author.batches[1].clone();
    store.commit(&[author.drop_to(&batch)]).unwrap();
    assert_eq!(read(&*store, &author, 6, 9), (vec![6], true));
    assert_eq!(read(&*store, &author, 3, 9), (vec![], false));
    assert_eq!(store.recover().unwrap().logs[&topic()][&author.log_id()], author.log);
    assert_eq!(read(&*store, &other, 0, 3), (vec![0], true));
    drop(store);
    assert_eq!(read(&*rig.open(), &author, 6, 9), (vec![6], true));
}

fn a_drop_sees_what_was_written_with_it(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let (one, two) = (author.append(1), author.append(2));
    let batch = author.batches[0].clone();
    let removal = author.drop_to(&batch);
    let three = author.append(3);
    let store = rig.open();
    store.commit(&[one, two, removal, three]).unwrap();
    assert_eq!(read(&*store, &author, 0, 9), (vec![], false));
    assert_eq!(read(&*store, &author, 3, 9), (vec![3, 6], true));
    assert_eq!(store.recover().unwrap().logs[&topic()][&author.log_id()], author.log);
}

fn a_dropped_log_can_come_back(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let appends = [author.append(1), author.append(2)];
    let store = rig.open();
    store.commit(&appends).unwrap();
    let gone =
        Write::Drop { topic: topic(), log_id: author.log_id(), from: 0, to: u64::MAX, log: None };
    store.commit(std::slice::from_ref(&gone)).unwrap();
    assert!(store.recover().unwrap().logs.is_empty());
    assert_eq!(read(&*store, &author, 0, 6), (vec![], false));
    // Within one commit too.
    store.commit(&[appends[0].clone(), gone, appends[0].clone(), appends[1].clone()]).unwrap();
    assert_eq!(read(&*store, &author, 0, 6), (vec![0, 3], true));
    assert_eq!(store.recover().unwrap().logs[&topic()][&author.log_id()], author.log);
}

/// Of what is about the same one statement is kept, and none of what is forgotten.
fn statements_of_a_roster_are_kept_in_place_of_others(rig: &dyn Rig) {
    let [root, admin, node] = [1, 2, 3].map(|seed| NodeKey::from_secret(&[seed; 32]));
    let door = Door::from_bytes([9; 32]);
    let admins = vec![Admin { key: admin.node(), scope: ">".parse().unwrap() }];
    let charter = Charter::first("lab".parse().unwrap(), root.node(), admins, &door);
    let network = charter.network();
    let charter = Statement::Charter(charter.sign(&root).unwrap());
    let pass = |label: &str| {
        let subject = (node.node(), MemberKind::Node);
        let mut pass = Pass::new(network, subject, admin.node(), WallClock(1));
        label.clone_into(&mut pass.label);
        Statement::Pass(pass.sign(&admin).unwrap())
    };
    let revocation = Revocation::new(network, (node.node(), 0), admin.node(), WallClock(1));
    let revocation = Statement::Revocation(revocation.sign(&admin).unwrap());
    let keep = |it: &Statement| Write::Statement { slot: it.slot(), statement: Some(it.clone()) };
    let store = rig.open();
    let all = [keep(&revocation), keep(&pass("old")), keep(&charter), keep(&pass("new"))];
    store.commit(&all).unwrap();
    drop(store);
    let store = rig.open();
    let kept = store.recover().unwrap().roster;
    assert_eq!(kept, [charter.clone(), pass("new"), revocation.clone()], "as they are accepted");
    let forget = Write::Statement { slot: pass("new").slot(), statement: None };
    store.commit(&[forget]).unwrap();
    drop(store);
    assert_eq!(rig.open().recover().unwrap().roster, [charter, revocation]);
}

/// What the engine does where a log has forked: the same bytes under another log, and the middle
/// or the end of the log taken out.
fn a_branch_is_filed_apart(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let appends = [author.append(1), author.append(2), author.append(3)];
    let mut twin = Author::new(1, topic());
    twin.append(9);
    let store = rig.open();
    store.commit(&appends).unwrap();
    let proof = ForkProof::of(&author.batches[0], &twin.batches[0]).unwrap();
    let root = author.batches[1].clone();
    let root = root.clone().filed(Incarnation::of_branch(root.hash()));
    let (log, mut branch) = (author.log.clone(), Log { low: 3, ..Log::default() });
    branch.add(&root).unwrap();
    let log_id = author.log_id();
    store
        .commit(&[
            Write::Fork(proof.clone()),
            Write::Fork(proof.clone()),
            Write::Append { batch: root.clone(), log: branch.clone() },
            Write::Drop { topic: topic(), log_id, from: 3, to: 6, log: Some(log) },
        ])
        .unwrap();
    drop(store);
    let store = rig.open();
    let recovered = store.recover().unwrap();
    assert_eq!(recovered.forks, [proof]);
    assert_eq!(recovered.logs[&topic()][&root.log()], branch);
    assert_eq!(read(&*store, &author, 0, 9), (vec![0], false));
    assert_eq!(read(&*store, &author, 6, 9), (vec![6], true));
    let range = LogRange { log: root.log(), from: 3, to: 6 };
    let page = read_page(&*store, &[range], 1 << 20);
    assert_eq!(page.batches[0].log(), root.log());
    assert_eq!(page.batches[0].bytes(), root.bytes());
}

fn later_values_replace_earlier_ones(rig: &dyn Rig) {
    let store = rig.open();
    let subscribe = |generation| Write::Subscription {
        topic: topic(),
        name: "a".parse().unwrap(),
        subscription: Some(Subscription::new(generation, Some(Cursor::start(topic())))),
    };
    store.commit(&[subscribe(1), Write::Contact(contact(1, "/old")), subscribe(2)]).unwrap();
    store.commit(&[Write::Contact(contact(1, "/new")), Write::Contact(contact(2, "/x"))]).unwrap();
    store.commit(&[Write::Forget(contact(2, "").node), subscribe(3)]).unwrap();
    let logs = [Author::new(1, topic()).log_id(), Author::new(2, topic()).log_id()];
    let pending = |first| Pending { first, since: WallClock(9) };
    let outbox = |log, pending| Write::Outbox { topic: topic(), log, pending };
    store.commit(&[outbox(logs[0], Some(pending(1))), outbox(logs[1], Some(pending(2)))]).unwrap();
    store.commit(&[outbox(logs[0], Some(pending(0))), outbox(logs[1], None)]).unwrap();
    drop(store);
    let recovered = rig.open().recover().unwrap();
    assert_eq!(recovered.outbox, [(topic(), [(logs[0], pending(0))].into())].into());
    let contacts: Vec<_> = recovered.contacts.into_values().collect();
    assert_eq!(contacts, [contact(1, "/new")]);
    let generations: Vec<_> = recovered.subscriptions.values().map(|s| s.generation).collect();
    assert_eq!(generations, [3]);
}

fn facts_are_kept(rig: &dyn Rig) {
    let store = rig.open();
    assert_eq!(store.fact("port"), Ok(None));
    store.put_fact("port", b"4001").unwrap();
    store.put_fact("port", b"4002").unwrap();
    drop(store);
    assert_eq!(rig.open().fact("port"), Ok(Some(b"4002".to_vec())));
}

fn a_check_reads_a_range_in_parts(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let batches: Vec<_> = (0..5).map(|time| author.seal(time, 3, 10)).collect();
    let store = rig.open();
    for index in [0, 1, 3, 4] {
        store.commit(&[author.store(batches[index].clone())]).unwrap();
    }
    let check = |from, to, bytes_max| {
        let Checking { checked, damages } =
            store.check(topic(), &author.range(from, to), bytes_max).unwrap();
        assert!(damages.is_empty() && checked.damaged.is_empty());
        for checked in &checked.batches {
            assert!(batches.iter().any(|batch| batch.hash() == checked.hash));
        }
        let firsts: Vec<_> = checked.batches.iter().map(|batch| batch.first).collect();
        (firsts, checked.to)
    };
    assert_eq!(check(0, 15, usize::MAX), (vec![0, 3, 9, 12], 15), "it goes past a hole");
    assert_eq!(check(1, 4, usize::MAX), (vec![0, 3], 6));
    assert_eq!(check(0, 15, 1), (vec![0], 3));
    assert_eq!(check(3, 15, 1), (vec![3], 6));
    assert_eq!(check(6, 15, 1), (vec![9], 12));
    assert_eq!(check(20, 30, 1), (vec![], 30));
}

fn a_quarantined_batch_that_can_be_read_stays(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let store = rig.open();
    store.commit(&[author.append(1), author.append(2), author.append(3)]).unwrap();
    let batch = author.batches[1].clone();
    let damage = author.damage(&batch);
    let write = author.quarantine(&damage);
    store.commit(&[write]).unwrap();
    assert_eq!(read(&*store, &author, 0, 9), (vec![0, 3, 6], true));
    let log = store.recover().unwrap().logs[&topic()][&author.log_id()].clone();
    assert_eq!((log.records(), &log), (6, &author.log), "it is as the engine says");
    store.commit(&[author.store(batch)]).unwrap();
    assert_eq!(read(&*rig_again(rig, store), &author, 0, 9), (vec![0, 3, 6], true));
}

fn rig_again(rig: &dyn Rig, store: Arc<dyn Store>) -> Arc<dyn Store> {
    drop(store);
    rig.open()
}

mod compacted;

/// The headers that are read at each record of a part, as their batches.
fn headers(store: &dyn Store, author: &Author, from: u64, to: u64) -> Vec<u64> {
    let page = read_page(store, &author.positions(from, to), usize::MAX);
    for header in &page.headers {
        let first = header.header().first;
        let batch = author.batches.iter().find(|batch| batch.header().first == first).unwrap();
        assert_eq!((header.hash(), header.log()), (batch.hash(), author.log_id()));
        assert_eq!(header.bytes(), &batch.announcement());
    }
    page.headers.iter().map(|header| header.header().first).collect()
}

fn of_what_was_let_go_the_headers_stay(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let mut other = Author::new(2, topic());
    let store = rig.open();
    let writes = [author.append(1), author.append(2), author.append(3), other.append(4)];
    store.commit(&writes).unwrap();
    assert_eq!(headers(&*store, &author, 0, 9), [0_u64; 0]);
    let batch = author.batches[0].clone();
    store.commit(&[author.let_go_to(&batch)]).unwrap();
    // Together with what was written before it, as well.
    let batch = author.append(5);
    let third = author.batches[2].clone();
    let cut = author.let_go_to(&third);
    store.commit(&[batch, cut]).unwrap();
    let mut store = store;
    for _ in 0..2 {
        assert_eq!(headers(&*store, &author, 0, 12), [0, 3, 6]);
        assert_eq!(headers(&*store, &author, 5, 6), [3], "whichever of its records is asked for");
        assert_eq!(headers(&*store, &other, 0, 3), [0_u64; 0]);
        assert_eq!(read(&*store, &author, 0, 12), (vec![], false), "a header is no batch");
        assert_eq!(read(&*store, &author, 9, 12), (vec![9], true));
        let several = read_page(&*store, &[author.range(0, 9)], usize::MAX);
        assert!(several.headers.is_empty(), "only single records are asked for by headers");
        assert_eq!(store.recover().unwrap().logs[&topic()][&author.log_id()], author.log);
        let measured = store.measure(topic(), &[author.range(0, 12)]).unwrap();
        assert_eq!(measured.iter().map(|part| part.records).sum::<u64>(), 3);
        let checked = store.check(topic(), &author.range(0, 12), usize::MAX).unwrap();
        assert_eq!((checked.checked.batches.len(), checked.damages.len()), (1, 0));
        store = rig_again(rig, store);
    }
}

fn headers_of_the_newest_records_stay(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let store = rig.open();
    let count = u32::try_from(HEADERS_KEPT_RECORDS / 2).unwrap();
    let mut appends = Vec::new();
    for time in 0..5 {
        let batch = author.seal(time, count, 0);
        appends.push(author.store(batch));
    }
    store.commit(&appends).unwrap();
    let firsts = |numbers: &[u64]| -> Vec<_> {
        numbers.iter().map(|number| number * u64::from(count)).collect()
    };
    let at = |number: u64| author_position(number, count);
    let third = author.batches[2].clone();
    store.commit(&[author.let_go_to(&third)]).unwrap();
    let page = |store: &dyn Store, author: &Author| {
        let ranges: Vec<_> =
            (0..5).map(|number| LogRange::position(author.log_id(), at(number))).collect();
        let page = read_page(store, &ranges, usize::MAX);
        page.headers.iter().map(|header| header.header().first).collect::<Vec<_>>()
    };
    assert_eq!(page(&*store, &author), firsts(&[1, 2]), "two batches are as many records");
    let fourth = author.batches[3].clone();
    store.commit(&[author.let_go_to(&fourth)]).unwrap();
    assert_eq!(page(&*store, &author), firsts(&[2, 3]));
    drop(store);
    assert_eq!(page(&*rig.open(), &author), firsts(&[2, 3]));
}

/// A record of the batch with this number.
fn author_position(number: u64, count: u32) -> u64 {
    number * u64::from(count) + 7
}

fn what_is_deleted_or_handed_over_leaves_no_header(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let store = rig.open();
    let fill = |author: &mut Author| [1, 2, 3].map(|time| author.append(time));
    store.commit(&fill(&mut author)).unwrap();
    let first = author.batches[0].clone();
    store.commit(&[author.let_go_to(&first)]).unwrap();
    assert_eq!(headers(&*store, &author, 0, 9), [0]);
    let second = author.batches[1].clone();
    store.commit(&[author.drop_to(&second)]).unwrap();
    assert_eq!(headers(&*store, &author, 0, 9), [0_u64; 0]);
    // Nor does what was handed over get one later.
    let third = author.batches[2].clone();
    store.commit(&[author.let_go_to(&third)]).unwrap();
    let store = rig_again(rig, store);
    assert_eq!(headers(&*store, &author, 0, 9), [6]);
    store.commit(&[author.delete()]).unwrap();
    assert_eq!(headers(&*store, &author, 0, 9), [0_u64; 0]);
    assert_eq!(headers(&*rig_again(rig, store), &author, 0, 9), [0_u64; 0]);
}

fn a_page_has_so_many_headers_and_no_more(rig: &dyn Rig) {
    let mut author = Author::new(1, topic());
    let store = rig.open();
    let count = HEADERS_PER_PAGE_MAX as u64 + 2;
    let appends: Vec<_> = (0..count).map(|time| author.append(time)).collect();
    store.commit(&appends).unwrap();
    let last = author.batches.last().unwrap().clone();
    store.commit(&[author.let_go_to(&last)]).unwrap();
    let found = headers(&*store, &author, 0, 3 * count);
    assert_eq!(found.len(), HEADERS_PER_PAGE_MAX);
    assert_eq!(headers(&*store, &author, 3 * count - 2, 3 * count).len(), 1);
}
