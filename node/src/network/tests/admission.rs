//! Who gets into a closed network, over real connections.

use antiphon::{
    model::{
        WallClock,
        roster::{
            Admin, Charter, Credentials, Door, Invitation, Kept, MemberKind, Pass, Revocation,
            Roster, Signed, Statement, Ticket,
        },
    },
    wire::{Greeting, Hello, NotAdmitted},
};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, future::BoxFuture};
use libp2p::{
    Transport,
    core::{
        UpgradeInfo,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, Version},
    },
    noise,
    swarm::{SwarmEvent, dummy},
    tcp, yamux,
};
use tokio::sync::watch;

use super::*;
use crate::{
    network::translate::{OTHER_DOOR, cause},
    platform::clock::wall,
    runtime::Members,
};

fn key(seed: u8) -> NodeKey {
    NodeKey::from_secret(&[seed; 32])
}

fn id(seed: u8) -> NodeId {
    key(seed).node()
}

const ROOT: u8 = 101;
const ADMIN: u8 = 102;
const OTHER_ADMIN: u8 = 103;
const INVITE: u8 = 104;
const OPERATOR: u8 = 105;
const ISSUED: WallClock = WallClock(1_796_000_000_000);
const DAY: u64 = 24 * 60 * 60 * 1_000;

fn door() -> Door {
    Door::from_bytes([9; 32])
}

fn charter(revision: u64, admin: u8) -> Signed<Charter> {
    let admins = vec![Admin { key: id(admin), scope: ">".parse().unwrap() }];
    let mut charter = Charter::first("test".parse().unwrap(), id(ROOT), admins, &door());
    charter.revision = revision;
    charter.sign(&key(ROOT)).unwrap()
}

fn terms(seed: u8, kind: MemberKind) -> Pass {
    let network = charter(0, ADMIN).terms().network();
    let mut pass = Pass::new(network, (id(seed), kind), id(ADMIN), ISSUED);
    pass.label = format!("m-{seed}");
    pass
}

fn pass(seed: u8) -> Signed<Pass> {
    terms(seed, MemberKind::Node).sign(&key(ADMIN)).unwrap()
}

fn own(seed: u8) -> Credentials {
    Credentials::own(pass(seed)).unwrap()
}

fn invite(uses: u32) -> Signed<Pass> {
    let mut pass = terms(INVITE, MemberKind::Invite);
    pass.invitation = Some(Invitation { admits: MemberKind::Node, uses, until: None });
    pass.sign(&key(ADMIN)).unwrap()
}

/// What somebody shows who uses a ticket.
fn claimed(seed: u8, uses: u32) -> Credentials {
    let ticket =
        Ticket::invitation(charter(0, ADMIN), door(), vec![], (invite(uses), [INVITE; 32]));
    Kept::join(&ticket, &key(seed), &format!("guest-{seed}")).unwrap().own
}

fn revocation(seed: u8) -> Statement {
    let network = charter(0, ADMIN).terms().network();
    let mut terms = Revocation::new(network, (id(seed), 0), id(ADMIN), ISSUED);
    terms.reason = "sold".into();
    Statement::Revocation(terms.sign(&key(ADMIN)).unwrap())
}

fn client(own: Option<Credentials>) -> Closed {
    Closed { charter: charter(0, ADMIN), door: door(), own, node: None }
}

/// A member that is a node, with its ends of the ways to its judge.
struct Member {
    settings: Settings,
    roster: watch::Sender<Arc<Roster>>,
    admitted: mpsc::Receiver<Vec<Statement>>,
}

fn member(seed: u8) -> Member {
    let (told, roster) = watch::channel(roster([]));
    let (tell, admitted) = mpsc::channel(4);
    let node = Some(Gate { roster, admitted: tell });
    let closed = Some(Box::new(Closed { node, ..client(Some(own(seed))) }));
    let operator = OperatorPlace { node: id(OPERATOR), file: "/nowhere/operator".into() };
    // Its links are left where nobody looks.
    let runtime_directory = Some(std::env::temp_dir().join("antiphon-test-admission"));
    let settings =
        Settings { closed, operator: Some(operator), runtime_directory, ..settings(seed) };
    Member { settings, roster: told, admitted }
}

fn roster(statements: impl IntoIterator<Item = Statement>) -> Arc<Roster> {
    let mut roster = Roster::new(charter(0, ADMIN));
    for statement in statements {
        roster.insert(statement).unwrap();
    }
    Arc::new(roster)
}

/// Dials a node; why it cannot be connected to.
async fn dial(seed: u8, closed: Option<Closed>, address: &Multiaddr) -> Result<(), String> {
    let key = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
    let judge = closed.map(|closed| Arc::new(Judge::new(closed, None)));
    let mut swarm = transport::swarm(&key, dummy::Behaviour, judge).unwrap();
    swarm.dial(address.clone()).unwrap();
    let connected = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => return Ok(()),
                SwarmEvent::OutgoingConnectionError { error, .. } => {
                    let (_, cause) = translate::dial_failures(&error).swap_remove(0);
                    return Err(cause);
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), connected).await.expect("it ends in time")
}

/// What a node says to somebody that it does not let in.
fn refused(words: &str) -> Result<(), String> {
    Err(format!("it does not let this key in: {words}"))
}

#[tokio::test]
async fn members_connect_and_show_what_the_other_one_does_not_know() {
    let mut one = member(1);
    let mut first = start(one.settings).await;
    let mut two = member(2);
    let bootstrap = vec![first.address.clone()];
    let mut second = start(Settings { bootstrap, ..two.settings }).await;
    first.connected(second.node).await;
    second.connected(first.node).await;
    assert_eq!(one.admitted.recv().await.unwrap(), own(2).statements());
    assert_eq!(two.admitted.recv().await.unwrap(), own(1).statements());
    // What the roster has is no news.
    one.roster.send_replace(roster([Statement::Pass(pass(2))]));
    assert_eq!(dial(2, Some(client(Some(own(2)))), &first.address).await, Ok(()));
    assert!(one.admitted.try_recv().is_err());
}

#[tokio::test]
async fn a_stranger_gets_no_multiplexer() {
    let closed = start(member(1).settings).await;
    let open = start(settings(2)).await;
    let other_door = |door| Closed { door, ..client(Some(own(3))) };
    for closed_of in [None, Some(other_door(Door::from_bytes([1; 32])))] {
        let ended = dial(3, closed_of, &closed.address).await;
        assert_eq!(ended, Err(OTHER_DOOR.to_owned()));
    }
    let ended = dial(3, Some(client(Some(own(3)))), &open.address).await;
    assert_eq!(ended, Err(OTHER_DOOR.to_owned()));
    assert_eq!(dial(3, None, &open.address).await, Ok(()));
}

#[tokio::test]
async fn who_has_the_door_and_no_valid_pass_is_told_why_not() {
    let node = member(1);
    let running = start(node.settings).await;
    let at = &running.address;
    let shows = |own| Some(client(own));
    let stranger = "it shows no pass of this network";
    assert_eq!(dial(3, shows(None), at).await, refused(stranger));
    assert_eq!(dial(3, shows(Some(own(4))), at).await, refused(stranger), "it is another's");
    let mut by_other = terms(3, MemberKind::Node);
    by_other.issuer = id(OTHER_ADMIN);
    let by_other = Credentials::own(by_other.sign(&key(OTHER_ADMIN)).unwrap()).unwrap();
    assert_eq!(dial(3, shows(Some(by_other)), at).await, refused(stranger));
    let expires = |before| {
        let mut pass = terms(3, MemberKind::Client);
        pass.expires = Some(WallClock(wall().0 - before));
        shows(Some(Credentials::own(pass.sign(&key(ADMIN)).unwrap()).unwrap()))
    };
    let ended = "its pass or its ticket has ended";
    assert_eq!(dial(3, expires(DAY), at).await, refused(ended));
    assert_eq!(dial(3, expires(1_000), at).await, Ok(()), "clocks differ a little");
    node.roster.send_replace(roster([revocation(5), Statement::Pass(pass(6)), revocation(6)]));
    let removed = "it was removed from the network (sold)";
    for seed in [5, 6] {
        assert_eq!(dial(seed, shows(Some(own(seed))), at).await, refused(removed));
    }
    let mut again = terms(5, MemberKind::Node);
    again.turn = 1;
    let again = Credentials::own(again.sign(&key(ADMIN)).unwrap()).unwrap();
    assert_eq!(dial(5, shows(Some(again)), at).await, Ok(()), "admitted again");
}

#[tokio::test]
async fn a_client_whose_pass_has_ended_gets_in_if_the_roster_has_a_later_one() {
    let node = member(1);
    let running = start(node.settings).await;
    let ends = |at| {
        let mut pass = terms(3, MemberKind::Client);
        pass.expires = Some(WallClock(at));
        pass.issued = WallClock(at - DAY);
        pass.sign(&key(ADMIN)).unwrap()
    };
    let ended = client(Some(Credentials::own(ends(wall().0 - DAY)).unwrap()));
    let again = || dial(3, Some(ended.clone()), &running.address);
    assert_eq!(again().await, refused("its pass or its ticket has ended"));
    let renewed = Statement::Pass(ends(wall().0 + DAY));
    node.roster.send_replace(roster([renewed]));
    assert_eq!(again().await, Ok(()));
}

#[tokio::test]
async fn the_operator_of_the_machine_needs_no_pass_and_members_of_other_networks_have_none() {
    let running = start(member(1).settings).await;
    let at = &running.address;
    assert_eq!(dial(OPERATOR, Some(client(None)), at).await, Ok(()));
    let mut other = client(None);
    let name = "other".parse().unwrap();
    other.charter = Charter::first(name, id(ROOT), vec![], &door()).sign(&key(ROOT)).unwrap();
    let ended = dial(OPERATOR, Some(other), at).await;
    assert_eq!(ended, Err(OTHER_DOOR.to_owned()));
}

#[tokio::test]
async fn a_ticket_for_one_admits_one_before_the_roster_knows_and_after() {
    let mut node = member(1);
    let running = start(node.settings).await;
    let at = &running.address;
    let uses = |seed| Some(client(Some(claimed(seed, 1))));
    assert_eq!(dial(3, uses(3), at).await, Ok(()));
    let used_up = refused("its ticket is used up (guest-3)");
    assert_eq!(dial(4, uses(4), at).await, used_up);
    assert_eq!(dial(3, uses(3), at).await, Ok(()), "who has used it may come again");
    let admitted = node.admitted.recv().await.unwrap();
    assert_eq!(admitted, claimed(3, 1).statements());
    assert!(node.admitted.try_recv().is_err(), "it is handed on once");
    node.roster.send_replace(roster(admitted));
    assert_eq!(dial(4, uses(4), at).await, used_up);
    assert_eq!(dial(3, uses(3), at).await, Ok(()));
    node.roster.send_replace(roster([Statement::Pass(invite(1)), revocation(INVITE)]));
    assert_eq!(dial(4, uses(4), at).await, refused("its ticket was withdrawn"));
}

#[tokio::test]
async fn what_was_stored_counts_before_the_engine_has_said_a_word() {
    let stored = Arc::unwrap_or_clone(roster(claimed(3, 1).statements()));
    let (members, gate) = Members::closed(stored);
    let mut node = member(1);
    node.settings.closed.as_mut().unwrap().node = Some(gate);
    let running = start(node.settings).await;
    let uses = |seed| dial(seed, Some(client(Some(claimed(seed, 1)))), &running.address);
    assert_eq!(uses(4).await, refused("its ticket is used up (guest-3)"));
    assert_eq!(uses(3).await, Ok(()), "who has used it may come again");
    drop(members);
}

#[tokio::test]
async fn newcomers_wait_while_the_engine_is_behind() {
    let mut node = member(1);
    let running = start(node.settings).await;
    let at = &running.address;
    for seed in 3..7 {
        assert_eq!(dial(seed, Some(client(Some(own(seed)))), at).await, Ok(()));
    }
    let eighth = || dial(8, Some(client(Some(own(8)))), at);
    assert_eq!(eighth().await, refused("there is no room for newcomers now; try again"));
    node.admitted.recv().await.unwrap();
    assert_eq!(eighth().await, Ok(()));
}

#[tokio::test]
async fn a_newer_charter_counts_at_once_and_an_older_one_never() {
    let mut node = member(1);
    let running = start(node.settings).await;
    let at = &running.address;
    let mut by_other = terms(3, MemberKind::Node);
    by_other.issuer = id(OTHER_ADMIN);
    let by_other = Credentials::own(by_other.sign(&key(OTHER_ADMIN)).unwrap()).unwrap();
    let newer = Closed { charter: charter(1, OTHER_ADMIN), ..client(Some(by_other.clone())) };
    // It does not let the node in, whose pass is by an admin of before.
    let ended = dial(3, Some(newer), at).await;
    assert_eq!(ended, Err("its key is not let in here: it shows no pass of this network".into()));
    let admitted = node.admitted.recv().await.unwrap();
    assert_eq!(admitted[0], Statement::Charter(charter(1, OTHER_ADMIN)));
    assert_eq!(admitted[1..], by_other.statements());
    let older = dial(4, Some(client(Some(own(4)))), at).await;
    assert_eq!(older, refused("it shows no pass of this network"));
}

#[tokio::test]
async fn a_newcomer_does_not_stay_with_a_false_node() {
    // It has the door, as any newcomer has, and no pass.
    let mut node = member(1);
    if let Some(closed) = &mut node.settings.closed {
        closed.own = None;
    }
    let running = start(node.settings).await;
    let ended = dial(3, Some(client(Some(claimed(3, 1)))), &running.address).await;
    assert_eq!(ended, Err("its key is not let in here: it shows no pass of this network".into()));
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_named() {
    let judge = Judge::new(client(None), None);
    let mut pass = terms(3, MemberKind::Node);
    pass.expires = Some(WallClock(wall().0 - DAY));
    let pass = pass.sign(&key(ADMIN)).unwrap();
    let shown = Judge::new(client(Some(Credentials::own(pass).unwrap())), None).greeting();
    let Hello::Greeting(greeting) = shown else { panic!("it greets") };
    let judged = |wall| {
        let greeting = Greeting { wall, ..greeting.clone() };
        judge.judge(&translate::peer_of(id(3)), &greeting).unwrap_err().why
    };
    assert_eq!(judged(wall()), NotAdmitted::Expired);
    assert_eq!(judged(WallClock(0)), NotAdmitted::Clock);
}

/// Finishes the handshake, says something, and waits until the other end has had enough.
#[derive(Clone)]
struct Rude {
    noise: noise::Config,
    says: Vec<u8>,
    closes: bool,
}

impl UpgradeInfo for Rude {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.noise.protocol_info()
    }
}

type Never<T> = BoxFuture<'static, Result<(PeerId, noise::Output<T>), std::io::Error>>;

impl<T> OutboundConnectionUpgrade<T> for Rude
where
    T: futures::AsyncRead + futures::AsyncWrite + Unpin + Send + 'static,
{
    type Output = (PeerId, noise::Output<T>);
    type Error = std::io::Error;
    type Future = Never<T>;

    fn upgrade_outbound(self, socket: T, info: &'static str) -> Never<T> {
        async move {
            let secured = self.noise.upgrade_outbound(socket, info).await;
            let (_, mut stream) = secured.map_err(std::io::Error::other)?;
            stream.write_all(&self.says).await?;
            stream.flush().await?;
            if self.closes {
                stream.close().await?;
            }
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard).await;
            Err(std::io::Error::other(format!("heard {} bytes", heard.len())))
        }
        .boxed()
    }
}

impl<T> InboundConnectionUpgrade<T> for Rude
where
    T: futures::AsyncRead + futures::AsyncWrite + Unpin + Send + 'static,
{
    type Output = (PeerId, noise::Output<T>);
    type Error = std::io::Error;
    type Future = Never<T>;

    fn upgrade_inbound(self, _: T, _: &'static str) -> Never<T> {
        unreachable!("it dials")
    }
}

async fn be_rude(says: Vec<u8>, closes: bool, address: &Multiaddr) -> String {
    let key = Keypair::generate_ed25519();
    let prologue = door().prologue(&charter(0, ADMIN).terms().network());
    let noise = noise::Config::new(&key).unwrap().with_prologue(prologue);
    let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(Version::V1Lazy)
        .authenticate(Rude { noise, says, closes })
        .multiplex(yamux::Config::default())
        .boxed();
    let options = libp2p::core::transport::DialOpts {
        role: libp2p::core::Endpoint::Dialer,
        port_use: libp2p::core::transport::PortUse::New,
    };
    let dial = transport.dial(address.clone(), options).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), dial).await.expect("it ends in time");
    let Err(error) = ended else { panic!("nothing is let in") };
    cause(&libp2p::core::transport::TransportError::Other(error))
}

#[tokio::test]
async fn what_is_no_hello_ends_the_connection_and_nothing_else() {
    let node = member(1);
    let running = start(node.settings).await;
    let (at, _) = translate::split_peer(running.address.clone());
    let framed = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap();
        [&length.to_be_bytes(), bytes].concat()
    };
    let hello = Judge::new(client(Some(own(3))), None).greeting().encode();
    let half = framed(&hello)[..hello.len() / 2].to_vec();
    let padded = [&hello[..], &[0]].concat();
    for says in [
        framed(b"garbage"),
        framed(&[]),
        framed(&padded),
        u32::MAX.to_be_bytes().to_vec(),
        [framed(b"\xff"), vec![7; 1 << 20]].concat(),
    ] {
        assert_eq!(be_rude(says, false, &at).await, "heard 0 bytes");
    }
    assert_eq!(be_rude(half.clone(), true, &at).await, "heard 0 bytes");
    // Who does not go on has the time of a whole connection.
    assert_eq!(be_rude(half, false, &at).await, "heard 0 bytes");
    assert_eq!(dial(3, Some(client(Some(own(3)))), &running.address).await, Ok(()));
}
