use std::sync::Mutex as Locked;

use antiphon::{
    model::{
        Blob, Cursor, Descriptor, Draft, Hash, Incarnation, Network, NodeKey, ProducerId, Realm,
        Record, Run, Stamp, WallClock, encode_record,
        roster::{Closure, Cut, Door, MemberKind, Pass, Revocation, Statement},
    },
    wire::{NodeRequest, PartDigest, Read, RosterTold, RosterWanted, Statements},
};

use super::*;
use crate::client::Client;

const ROOT: u8 = 1;
const ADMIN: u8 = 2;
const FIRST: u8 = 3;
const SECOND: u8 = 4;
const STRANGER: u8 = 9;

fn key(number: u8) -> NodeKey {
    NodeKey::from_secret(&[number; 32])
}

fn name() -> TopicName {
    "t".parse().unwrap()
}

/// What the first member of a network keeps.
fn kept() -> Kept {
    let lab: Network = "lab".parse().unwrap();
    let door = Door::from_bytes([7; 32]);
    let first = (key(FIRST).node(), "first");
    Kept::found(lab, (&key(ROOT), &key(ADMIN)), door, first, WallClock(1)).unwrap()
}

fn pass(number: u8, issuer: u8) -> Statement {
    let subject = (key(number).node(), MemberKind::Node);
    let pass = Pass::new(kept().network(), subject, key(issuer).node(), WallClock(2));
    Statement::Pass(pass.sign(&key(issuer)).unwrap())
}

fn batch(topic: TopicId, writer: u8) -> Batch {
    let mut body = Vec::new();
    encode_record(&Record::new(WallClock(1), b"x".to_vec()), &mut body).unwrap();
    let draft = Draft {
        topic,
        incarnation: Incarnation(5),
        previous: None,
        stamp: Stamp::default(),
        runs: vec![Run { producer: ProducerId([1; 16]), first: 0, count: 1 }],
    };
    draft.seal(&body.into(), &key(writer))
}

/// A node that gives what it is told to give, by any writer.
#[derive(Debug, Default)]
struct Giver {
    page: Page,
    told: Vec<Statement>,
    described: Option<Blob>,
    asked: Locked<usize>,
}

impl Link for Giver {
    fn ask(&self, request: Request, _: Duration) -> BoxFuture<'_, Result<Response, LinkError>> {
        let charter = Statement::Charter(kept().charter);
        let answer = match request {
            Request::Client(ClientRequest::Read(_)) => Response::Page(self.page.clone()),
            Request::Client(ClientRequest::ReadMany(_)) => {
                Response::Pages(vec![TopicPage { which: 0, page: self.page.clone() }])
            }
            Request::Client(ClientRequest::Describe(_)) => {
                Response::Described(self.described.clone())
            }
            Request::Node(NodeRequest::CompareRoster(RosterWanted::Digest(_))) => {
                *self.asked.lock().unwrap() += 1;
                let parts = vec![PartDigest { part: 0, digest: Hash([0; 32]) }];
                Response::Roster(RosterTold::Differs(parts, Statements::from_iter([charter])))
            }
            Request::Node(NodeRequest::CompareRoster(RosterWanted::Part(..))) => {
                Response::Roster(RosterTold::Part(self.told.iter().cloned().collect(), None))
            }
            other => panic!("not asked: {other:?}"),
        };
        std::future::ready(Ok(answer)).boxed()
    }
}

/// What a client gets that reads a page of batches of these writers.
async fn read(giver: &Arc<Giver>, topic: TopicId) -> Result<usize, LinkError> {
    let inner: Arc<dyn Link> = Arc::clone(giver) as _;
    let link = CheckedLink::over(inner, &kept());
    let client = Client { link: Arc::new(link), timeout: Duration::from_secs(10) };
    let after = Cursor::start(topic);
    let read = Read { topic: name(), after, until: None, bytes_max: 1_000, wait_ms: 0 };
    let page = client.link.ask(ClientRequest::Read(read).into(), client.timeout).await?;
    let Response::Page(page) = page else { panic!("{page:?}") };
    Ok(page.batches.len())
}

fn page(topic: TopicId, writers: &[u8]) -> Page {
    let batches = writers.iter().map(|writer| batch(topic, *writer)).collect();
    Page { batches, finished: true, ..Page::default() }
}

fn natural() -> TopicId {
    Realm::of(kept().charter.terms()).topic(&name())
}

#[tokio::test]
async fn records_of_members_that_the_client_knows_cost_no_question() {
    let giver = Giver { page: page(natural(), &[FIRST]), ..Giver::default() };
    let giver = Arc::new(giver);
    assert_eq!(read(&giver, natural()).await, Ok(1));
    assert_eq!(*giver.asked.lock().unwrap(), 0);
}

#[tokio::test]
async fn records_of_another_member_are_taken_once_its_pass_was_told() {
    let giver = Giver {
        page: page(natural(), &[FIRST, SECOND]),
        told: vec![pass(SECOND, ADMIN)],
        ..Giver::default()
    };
    assert_eq!(read(&Arc::new(giver), natural()).await, Ok(2));
}

#[tokio::test]
async fn records_that_a_lying_node_slips_in_are_refused() {
    for told in [vec![], vec![pass(STRANGER, STRANGER)], vec![pass(SECOND, ADMIN)]] {
        let giver = Giver { page: page(natural(), &[FIRST, STRANGER]), told, ..Giver::default() };
        let refused =
            LinkError::ForeignWriter { writer: key(STRANGER).node(), topic: "t".to_owned() };
        assert_eq!(read(&Arc::new(giver), natural()).await, Err(refused));
    }
}

#[tokio::test]
async fn records_beyond_the_cut_of_a_removed_writer_are_refused() {
    let (network, admin) = (kept().network(), key(ADMIN).node());
    let last = batch(natural(), SECOND);
    let closed = |cuts| {
        let removed = Revocation::new(network, (key(SECOND).node(), 0), admin, WallClock(3));
        let place = (natural(), key(SECOND).node());
        let closure = Closure::new(network, place, 0, cuts, admin).sign(&key(ADMIN)).unwrap();
        let removed = Statement::Revocation(removed.sign(&key(ADMIN)).unwrap());
        vec![pass(SECOND, ADMIN), removed, Statement::Closure(closure)]
    };
    let cut = Cut { next: 1, head: Some(last.hash()) };
    for (cuts, is_taken) in [([(Incarnation(5), cut)].into(), true), ([].into(), false)] {
        let page = page(natural(), &[SECOND]);
        let giver = Giver { page, told: closed(cuts), ..Giver::default() };
        assert_eq!(read(&Arc::new(giver), natural()).await.is_ok(), is_taken);
    }
}

#[tokio::test]
async fn pages_of_several_topics_are_checked_as_well() {
    let giver = Giver { page: page(natural(), &[STRANGER]), ..Giver::default() };
    let link = CheckedLink::over(Arc::new(giver), &kept());
    let topics = vec![antiphon::wire::TopicRead { topic: name(), after: None }];
    let read = antiphon::wire::ReadMany { topics, bytes_max: 1_000, wait_ms: 0 };
    let answer = link.ask(ClientRequest::ReadMany(read).into(), Duration::from_secs(10)).await;
    assert!(matches!(answer, Err(LinkError::ForeignWriter { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_topic_was_imported_only_if_a_member_that_may_manage_it_has_signed_so() {
    let origin = TopicId::derive(&Realm::default(), &name());
    for (creator, is_taken) in [(FIRST, true), (STRANGER, false)] {
        let mut terms = Descriptor::new(name(), key(creator).node(), Stamp::default());
        terms.origin = Some(origin);
        let described = terms.sign(&key(creator)).unwrap().bytes().clone();
        let giver = Giver {
            page: page(origin, &[STRANGER]),
            described: Some(Blob(described)),
            ..Giver::default()
        };
        assert_eq!(read(&Arc::new(giver), origin).await.is_ok(), is_taken);
    }
}
