//! What the root, the admins and the newcomers of a closed network sign, and tickets.

use std::collections::BTreeMap;

use antiphon::{
    limits::ROSTER_TOLD_MAX,
    model::{
        Hash, Incarnation, Network, NodeKey, Realm, WallClock,
        roster::{
            Admin, Charter, Claim, Closure, Cut, Door, EncryptionKey, Invitation, MemberKind,
            NetworkId, NotTaken, Pass, Revocation, Roster, Signed, Statement, StatementError,
            Ticket, TicketContact, TopicIds,
        },
    },
    wire::{NodeRequest, PartDigest, Request, Response, RosterTold, RosterWanted, Statements},
};

use super::{frozen, key, round_trip, topic};

const ISSUED: WallClock = WallClock(1_796_000_000_000);
const ENDS: WallClock = WallClock(1_796_086_400_000);

fn root() -> NodeKey {
    NodeKey::from_secret(&[3; 32])
}

fn admin() -> NodeKey {
    NodeKey::from_secret(&[4; 32])
}

fn invite_secret() -> [u8; 32] {
    [5; 32]
}

pub(super) fn door() -> Door {
    Door::from_bytes([6; 32])
}

pub(super) fn charter() -> Signed<Charter> {
    let name: Network = "lab".parse().unwrap();
    let admins = vec![Admin { key: admin().node(), scope: "team-a.>".parse().unwrap() }];
    let mut charter = Charter::first(name, root().node(), admins, &door());
    (charter.revision, charter.topic_ids) = (2, TopicIds::ByName);
    charter.sign(&root()).unwrap()
}

fn network() -> NetworkId {
    charter().terms().network()
}

pub(super) fn pass() -> Signed<Pass> {
    let subject = (key().node(), MemberKind::Client);
    let mut pass = Pass::new(network(), subject, admin().node(), ISSUED);
    (pass.turn, pass.label) = (1, "laptop".into());
    pass.encryption_key = Some(EncryptionKey([7; 32]));
    pass.grants = ["read team-a.>", "read,write team-a.jobs with workers.*"]
        .map(|grant| grant.parse().unwrap())
        .into();
    (pass.expires, pass.groups) = (Some(ENDS), vec!["ops".into()]);
    pass.sign(&admin()).unwrap()
}

pub(super) fn invite() -> Signed<Pass> {
    let subject = NodeKey::from_secret(&invite_secret()).node();
    let mut pass = Pass::new(network(), (subject, MemberKind::Invite), admin().node(), ISSUED);
    let invitation = Invitation { admits: MemberKind::Node, uses: 3, until: Some(ENDS) };
    (pass.invitation, pass.expires) = (Some(invitation), Some(ENDS));
    pass.sign(&admin()).unwrap()
}

pub(super) fn claim() -> Signed<Claim> {
    let invite = NodeKey::from_secret(&invite_secret());
    let mut claim = Claim::new(network(), invite.node(), key().node(), "pi-4".into());
    claim.encryption_key = Some(EncryptionKey([7; 32]));
    claim.sign(&invite, &key()).unwrap()
}

fn revocation() -> Signed<Revocation> {
    let mut terms = Revocation::new(network(), (key().node(), 1), admin().node(), ISSUED);
    terms.reason = "sold".into();
    terms.sign(&admin()).unwrap()
}

fn closure() -> Signed<Closure> {
    let cut = Cut { next: 40, head: Some(Hash([8; 32])) };
    let cuts =
        BTreeMap::from([(Incarnation(9), cut), (Incarnation(10), Cut { next: 0, head: None })]);
    let writer = (topic(), key().node());
    Closure::new(network(), writer, 1, cuts, admin().node()).sign(&admin()).unwrap()
}

pub(super) fn samples() -> [Statement; 6] {
    [
        Statement::Charter(charter()),
        Statement::Pass(pass()),
        Statement::Pass(invite()),
        Statement::Claim(claim()),
        Statement::Revocation(revocation()),
        Statement::Closure(closure()),
    ]
}

pub(super) fn ticket() -> Ticket {
    let contact = TicketContact { node: key().node(), address: "/ip4/192.168.1.7/tcp/4001".into() };
    Ticket::invitation(charter(), door(), vec![contact], (invite(), invite_secret()))
}

#[test]
fn statements_of_a_roster() {
    let mut all = Vec::new();
    for statement in samples() {
        let bytes = statement.bytes().clone();
        assert_eq!(Statement::verify(statement.kind(), bytes.clone()), Ok(statement));
        all.extend_from_slice(&bytes);
    }
    frozen("roster.hex", &all);
}

#[test]
fn comparing_rosters() {
    let slot = samples()[3].slot();
    let requests = [
        NodeRequest::CompareRoster(RosterWanted::Digest(Hash([9; 32]))),
        NodeRequest::CompareRoster(RosterWanted::Part(7, None)),
        NodeRequest::CompareRoster(RosterWanted::Part(7, Some(slot))),
        NodeRequest::TellRoster(samples().into_iter().collect()),
    ];
    let parts = vec![PartDigest { part: 7, digest: Hash([9; 32]) }];
    let responses = [
        RosterTold::Same,
        RosterTold::Differs(parts, told([Statement::Charter(charter())])),
        RosterTold::Part(told([Statement::Claim(claim())]), Some(slot)),
    ];
    let all = round_trip(requests.map(Request::Node), responses.map(Response::Roster));
    frozen("rosters.hex", &all);
    let mut slots = samples().map(|statement| statement.slot().to_key());
    slots.sort_unstable();
    frozen("roster_keys.hex", &slots.concat());
}

fn told(statements: impl IntoIterator<Item = Statement>) -> Statements {
    statements.into_iter().collect()
}

#[test]
fn forged_statements_are_told_but_are_no_news_and_too_many_are_refused() {
    let part = |statements| Response::Roster(RosterTold::Part(told(statements), None));
    let mut forged = part(vec![Statement::Pass(pass())]).encode().to_vec();
    let signed = pass().bytes().clone();
    let at = forged.windows(signed.len()).position(|bytes| bytes == signed).unwrap();
    // Within the signature, which is at the end.
    forged[at + signed.len() - 8] ^= 1;
    let Ok(Response::Roster(RosterTold::Part(Statements(heard), None))) =
        Response::decode(&forged.into())
    else {
        panic!("it is decoded, and nothing is verified");
    };
    let roster = Roster::new(charter());
    let is_false = NotTaken::False(StatementError::Forged);
    assert_eq!(heard[0].news_to(&roster), Err(is_false));
    let statements = vec![Statement::Revocation(revocation()); ROSTER_TOLD_MAX + 1];
    assert!(Response::decode(&part(statements).encode()).is_err());
}

#[test]
fn ids_of_topics() {
    let mut by_network_id = charter().terms().clone();
    by_network_id.topic_ids = TopicIds::ByNetworkId;
    let [open, closed] = [charter().terms(), &by_network_id].map(Realm::of);
    let name = "team-a.jobs".parse().unwrap();
    let ids = [Realm::open("lab".parse().unwrap()), open, closed].map(|realm| realm.topic(&name));
    frozen("topic_ids.hex", ids.map(|id| *id.as_bytes()).as_flattened());
}

#[test]
fn a_ticket() {
    let text = ticket().to_string();
    assert_eq!(text.parse::<Ticket>(), Ok(ticket()));
    frozen("ticket.hex", text.as_bytes());
}

#[test]
fn a_statement_of_a_newer_program_says_that_it_is_one() {
    // The terms of a revocation, with version 2.
    let mut bytes = revocation().bytes().to_vec();
    let at = bytes.windows(2).position(|pair| pair == [0x00, 0x01]).unwrap() + 1;
    bytes[at] = 2;
    assert_eq!(Statement::verify(3, bytes.into()), Err(StatementError::Version(2)));
}

#[test]
fn nothing_may_be_longer_than_it_is_allowed_to_be() {
    let padded = [claim().bytes().as_ref(), &[0]].concat();
    assert!(Statement::verify(2, padded.into()).is_err());
    let signed = |count: u8| {
        let mut terms = charter().terms().clone();
        let admin = |secret| NodeKey::from_secret(&[secret; 32]).node();
        let scope = terms.admins[0].scope.clone();
        terms.admins =
            (0..count).map(|secret| Admin { key: admin(secret), scope: scope.clone() }).collect();
        terms.sign(&root())
    };
    assert!(signed(64).is_ok());
    assert!(signed(65).is_err());
    let mut long = pass().terms().clone();
    long.label = "x".repeat(65);
    assert!(long.clone().sign(&admin()).is_err());
    long.label = "two\nlines".into();
    assert!(long.sign(&admin()).is_err());
}
