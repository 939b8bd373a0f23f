//! What a roster makes of statements, in whatever order they come.

mod claims;

use proptest::prelude::*;

use super::*;
use crate::{
    limits::{CLOSURES_MAX, TURNS_MAX},
    model::{Hash, Incarnation, LogId, Network, NodeId, NodeKey, TopicId, WallClock},
};

fn key(secret: u8) -> NodeKey {
    NodeKey::from_secret(&[secret; 32])
}

fn id(secret: u8) -> NodeId {
    key(secret).node()
}

const ROOT: u8 = 1;
const ADMIN: u8 = 2;
const OTHER_ADMIN: u8 = 3;
const NARROW_ADMIN: u8 = 4;
const NOW: WallClock = WallClock(1_800_000_000_000);
const LATER: WallClock = WallClock(1_900_000_000_000);

fn door() -> Door {
    Door::from_bytes([9; 32])
}

fn admins(keys: &[(u8, &str)]) -> Vec<Admin> {
    keys.iter()
        .map(|(secret, scope)| Admin { key: id(*secret), scope: scope.parse().unwrap() })
        .collect()
}

fn charter(revision: u64, keys: &[(u8, &str)]) -> Signed<Charter> {
    let name: Network = "lab".parse().unwrap();
    let first = Charter::first(name, id(ROOT), admins(keys), &door());
    Charter { revision, ..first }.sign(&key(ROOT)).unwrap()
}

fn first_charter() -> Signed<Charter> {
    charter(0, &[(ADMIN, ">"), (OTHER_ADMIN, ">"), (NARROW_ADMIN, "team-a.>")])
}

fn network() -> NetworkId {
    first_charter().terms().network()
}

fn pass(subject: u8, kind: MemberKind, issuer: u8) -> Pass {
    Pass::new(network(), (id(subject), kind), id(issuer), NOW)
}

fn node(subject: u8, turn: u32) -> Statement {
    let label = format!("node-{subject}");
    let pass = Pass { turn, label, ..pass(subject, MemberKind::Node, ADMIN) };
    Statement::Pass(pass.sign(&key(ADMIN)).unwrap())
}

fn invite(secret: u8, uses: u32, expires: Option<WallClock>) -> Signed<Pass> {
    let invitation = Invitation { admits: MemberKind::Node, uses, until: None };
    let pass =
        Pass { expires, invitation: Some(invitation), ..pass(secret, MemberKind::Invite, ADMIN) };
    pass.sign(&key(ADMIN)).unwrap()
}

fn claim(invite: u8, subject: u8) -> Signed<Claim> {
    let claim = Claim::new(network(), id(invite), id(subject), format!("guest-{subject}"));
    claim.sign(&key(invite), &key(subject)).unwrap()
}

fn revocation(subject: u8, turn: u32, issuer: u8) -> Statement {
    let terms = Revocation::new(network(), (id(subject), turn), id(issuer), NOW);
    let terms = Revocation { reason: "sold".into(), ..terms };
    Statement::Revocation(terms.sign(&key(issuer)).unwrap())
}

fn closure(writer: u8, turn: u32, next: u64) -> Statement {
    let head = (next > 0).then_some(Hash([5; 32]));
    let cuts = [(Incarnation(7), Cut { next, head })].into();
    let topic = TopicId::from_bytes([8; 32]);
    let terms = Closure::new(network(), (topic, id(writer)), turn, cuts, id(ADMIN));
    Statement::Closure(terms.sign(&key(ADMIN)).unwrap())
}

fn roster(statements: impl IntoIterator<Item = Statement>) -> Roster {
    let mut roster = Roster::new(first_charter());
    for statement in statements {
        roster.insert(statement).unwrap();
    }
    roster
}

#[test]
fn every_statement_holds_and_a_changed_one_does_not() {
    let statements = [
        Statement::Charter(first_charter()),
        node(10, 0),
        Statement::Pass(invite(20, 1, None)),
        Statement::Claim(claim(20, 11)),
        revocation(10, 0, ADMIN),
        closure(10, 0, 5),
    ];
    for statement in statements {
        let (kind, bytes) = (statement.kind(), statement.bytes().clone());
        assert_eq!(Statement::verify(kind, bytes.clone()), Ok(statement.clone()));
        for other in (0..6).filter(|other| *other != kind) {
            assert!(Statement::verify(other, bytes.clone()).is_err(), "as kind {other}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            let damaged = Statement::verify(kind, damaged.into());
            assert!(damaged.is_err(), "{} at byte {at}", statement.kind_name());
        }
        assert!(Statement::verify(kind, bytes.slice(..bytes.len() - 1)).is_err());
    }
}

#[test]
fn a_member_has_what_its_pass_or_the_charter_grants() {
    let client = Pass {
        grants: vec!["read sensors.>".parse().unwrap()],
        ..pass(12, MemberKind::Client, ADMIN)
    };
    let client = Statement::Pass(client.sign(&key(ADMIN)).unwrap());
    let roster = roster([node(10, 0), client]);
    let member = roster.member(&id(10), NOW).unwrap();
    assert_eq!((member.kind, &*member.label), (MemberKind::Node, "node-10"));
    assert_eq!(member.grants, first_charter().terms().of_nodes);
    let member = roster.member(&id(12), NOW).unwrap();
    assert_eq!(member.grants, ["read sensors.>".parse().unwrap()]);
    assert_eq!(roster.member(&id(13), NOW), Err(Excluded::Unknown));
}

#[test]
fn a_statement_costs_a_signature_only_if_it_is_news() {
    let known = Statement::Pass(invite(20, 1, None));
    let roster = roster([known.clone()]);
    let forged = |statement: &Statement| {
        let mut bytes = statement.bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        Told::read(statement.kind(), bytes.into()).unwrap()
    };
    assert_eq!(forged(&known).news_to(&roster), Ok(None), "it was not looked at");
    let stranger = pass(30, MemberKind::Node, 50).sign(&key(50)).unwrap();
    let no_admin = NotTaken::NotAccepted(NotAccepted::NoAdmin(id(50)));
    assert_eq!(forged(&Statement::Pass(stranger)).news_to(&roster), Err(no_admin));
    for news in [node(10, 0), Statement::Claim(claim(20, 11)), revocation(12, 0, ADMIN)] {
        let is_false = NotTaken::False(StatementError::Forged);
        assert_eq!(forged(&news).news_to(&roster), Err(is_false));
        let told = Told::read(news.kind(), news.bytes().clone()).unwrap();
        assert_eq!(told.news_to(&roster), Ok(Some(news)));
    }
}

#[test]
fn the_parts_of_a_roster_are_all_of_it_in_order() {
    let statements = [
        node(10, 0),
        Statement::Pass(invite(20, 4, None)),
        revocation(13, 0, ADMIN),
        closure(10, 0, 3),
        closure(14, 0, 0),
    ];
    let claims = (30..34).map(|guest| Statement::Claim(claim(20, guest)));
    let roster = roster(statements.into_iter().chain(claims));
    let mut all: Vec<_> = roster.statements().map(|it| it.slot()).collect();
    let parts = (0..=u8::MAX).map(|part| roster.part(part).collect::<Vec<_>>());
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    assert!(parts.iter().all(|part| part.is_sorted()));
    assert!(parts.iter().all(|part| part.iter().all(|slot| slot.part() == part[0].part())));
    let mut together = parts.concat();
    all.sort_unstable();
    together.sort_unstable();
    assert_eq!(together, all);
}

#[test]
fn who_was_removed_comes_back_by_a_higher_turn_alone() {
    let mut roster = roster([node(10, 0), revocation(10, 0, ADMIN)]);
    let excluded = Excluded::Revoked { reason: "sold".into(), issued: NOW };
    assert_eq!(roster.member(&id(10), NOW), Err(excluded.clone()));
    // The old pass again, or an invitation, changes nothing.
    assert_eq!(roster.insert(node(10, 0)), Ok(false));
    roster.insert(Statement::Pass(invite(20, 1, None))).unwrap();
    assert_eq!(roster.may_claim(claim(20, 10).terms(), NOW), Err(TicketRefused::Removed));
    roster.insert(Statement::Claim(claim(20, 10))).unwrap();
    assert_eq!(roster.member(&id(10), NOW), Err(excluded));
    assert_eq!(roster.insert(node(10, 1)), Ok(true));
    assert_eq!(roster.member(&id(10), NOW).unwrap().turn, 1);
    // The last turn is the last.
    assert_eq!(roster.insert(revocation(10, TURNS_MAX, ADMIN)), Ok(true));
    assert!(roster.member(&id(10), NOW).is_err());
}

#[test]
fn a_pass_ends_by_the_clock_where_it_says_so() {
    let pass = Pass { expires: Some(LATER), ..pass(10, MemberKind::Client, ADMIN) };
    let roster = roster([Statement::Pass(pass.sign(&key(ADMIN)).unwrap())]);
    assert!(roster.member(&id(10), NOW).is_ok());
    assert_eq!(roster.member(&id(10), LATER), Err(Excluded::Expired(LATER)));
}

#[test]
fn only_admins_admit_and_none_grants_more_than_its_scope() {
    let mut roster = Roster::new(first_charter());
    let by = |issuer: u8, grants: &[&str]| {
        let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let pass = Pass { grants, ..pass(10, MemberKind::Client, issuer) };
        Statement::Pass(pass.sign(&key(issuer)).unwrap())
    };
    assert_eq!(roster.insert(by(50, &[])), Err(NotAccepted::NoAdmin(id(50))));
    assert_eq!(roster.insert(revocation(10, 0, 50)), Err(NotAccepted::NoAdmin(id(50))));
    let wide = |result| matches!(result, Err(NotAccepted::TooWide(issuer, _)) if issuer == id(NARROW_ADMIN));
    assert!(wide(roster.insert(by(NARROW_ADMIN, &[]))), "the charter grants more");
    assert!(wide(roster.insert(by(NARROW_ADMIN, &["read team-a.x", "read >"]))));
    assert_eq!(roster.insert(by(NARROW_ADMIN, &["read team-a.>", "write team-a.*"])), Ok(true));
    let other = Charter::first("other".parse().unwrap(), id(ROOT), vec![], &door());
    let other = Statement::Charter(other.sign(&key(ROOT)).unwrap());
    assert_eq!(roster.insert(other), Err(NotAccepted::OtherNetwork));
}

#[test]
fn a_charter_without_an_admin_ends_all_it_signed() {
    let by_other = pass(11, MemberKind::Node, OTHER_ADMIN).sign(&key(OTHER_ADMIN)).unwrap();
    let mut roster = roster([
        node(10, 0),
        Statement::Pass(by_other),
        Statement::Pass(invite(20, 1, None)),
        Statement::Claim(claim(20, 12)),
        revocation(13, 0, ADMIN),
    ]);
    assert_eq!(roster.insert(Statement::Charter(charter(1, &[(OTHER_ADMIN, ">")]))), Ok(true));
    assert!(roster.member(&id(11), NOW).is_ok());
    for gone in [10, 12, 13] {
        assert_eq!(roster.member(&id(gone), NOW), Err(Excluded::Unknown));
    }
    assert_eq!(roster.insert(Statement::Charter(first_charter())), Ok(false), "an older one");
    assert_eq!(roster.len(), 2);
}

#[test]
fn a_charter_without_an_admin_takes_nothing_that_others_signed() {
    let without = Statement::Charter(charter(1, &[(ADMIN, ">")]));
    let mut by_other = pass(10, MemberKind::Node, OTHER_ADMIN);
    by_other.turn = 2;
    let by_other = Statement::Pass(by_other.sign(&key(OTHER_ADMIN)).unwrap());
    let statements =
        [node(10, 1), by_other, revocation(11, 0, ADMIN), revocation(11, 1, OTHER_ADMIN)];
    let expected = roster([without.clone(), node(10, 1), revocation(11, 0, ADMIN)]);
    for first in 0..statements.len() {
        let mut roster = roster(statements.iter().cycle().skip(first).take(4).cloned());
        assert_eq!((roster.len(), roster.member(&id(10), NOW).unwrap().turn), (5, 2));
        assert_eq!(roster.insert(without.clone()), Ok(true));
        assert_eq!(roster, expected);
        assert_eq!(roster.member(&id(10), NOW).unwrap().turn, 1);
        assert!(matches!(roster.member(&id(11), NOW), Err(Excluded::Revoked { .. })));
    }
}

#[test]
fn a_closed_log_ends_for_ever_and_others_until_the_writer_is_admitted_again() {
    let (topic, name) = (TopicId::from_bytes([8; 32]), "t".parse().unwrap());
    let log = |incarnation| LogId { writer: id(10), incarnation: Incarnation(incarnation) };
    let writer =
        |roster: &Roster, incarnation| roster.writer((&topic, &name), &log(incarnation), NOW);
    let cut = |next: u64| Cut { next, head: (next > 0).then_some(Hash([5; 32])) };
    let mut roster = roster([node(10, 0)]);
    assert_eq!(writer(&roster, 7), Standing::Writes);
    roster.insert(revocation(10, 0, ADMIN)).unwrap();
    assert_eq!(writer(&roster, 7), Standing::Frozen);
    for (next, counts) in [(5, 5), (4, 5), (6, 6)] {
        roster.insert(closure(10, 0, next)).unwrap();
        assert_eq!(writer(&roster, 7), Standing::Closed(cut(counts)));
    }
    assert_eq!(writer(&roster, 8), Standing::Closed(cut(0)), "nobody knew of this log");
    roster.insert(node(10, 1)).unwrap();
    assert_eq!(writer(&roster, 7), Standing::Closed(cut(6)));
    assert_eq!(writer(&roster, 8), Standing::Writes);
    let stranger = LogId { writer: id(11), incarnation: Incarnation(7) };
    assert_eq!(roster.writer((&topic, &name), &stranger, NOW), Standing::Stranger);
}

#[test]
fn of_many_closures_those_that_let_most_count_stay() {
    let mut roster = roster([node(10, 0)]);
    for next in 0..CLOSURES_MAX as u64 + 4 {
        assert_eq!(roster.insert(closure(10, 0, next)), Ok(true));
    }
    assert_eq!(roster.len(), 2 + CLOSURES_MAX);
    assert_eq!(roster.insert(closure(10, 0, 3)), Ok(false));
    assert_eq!(roster.insert(closure(10, 0, 4)), Ok(false), "it is there");
}

/// Statements of a few keys, so that many of them are rivals.
fn some_statement() -> impl Strategy<Value = Statement> {
    let subject = 10_u8..14;
    prop_oneof![
        (subject.clone(), 0_u32..3).prop_map(|(subject, turn)| node(subject, turn)),
        (subject.clone(), 0_u32..3, 2_u8..4)
            .prop_map(|(subject, turn, issuer)| revocation(subject, turn, issuer)),
        // More newcomers than an invitation admits.
        (20_u8..22, 10_u8..17)
            .prop_map(|(invite, subject)| Statement::Claim(claim(invite, subject))),
        (20_u8..22, 1_u32..3)
            .prop_map(|(secret, uses)| Statement::Pass(invite(secret, uses, None))),
        (20_u8..22, 0_u32..2).prop_map(|(subject, turn)| revocation(subject, turn, ADMIN)),
        (subject, 0_u32..2, 0_u64..4).prop_map(|(writer, turn, next)| closure(writer, turn, next)),
        (1_u64..3, any::<bool>()).prop_map(|(revision, both)| {
            let admins = [(OTHER_ADMIN, ">"), (ADMIN, ">")];
            Statement::Charter(charter(revision, &admins[..if both { 2 } else { 1 }]))
        }),
    ]
}

/// Two nodes tell each other all they know until nothing is news.
fn exchange(one: &mut Roster, other: &mut Roster) {
    loop {
        let mut is_news = false;
        for (from, to) in [(0, 1), (1, 0)] {
            let told: Vec<_> = [&*one, &*other][from].statements().collect();
            let hears = if to == 0 { &mut *one } else { &mut *other };
            for statement in told {
                is_news |= hears.insert(statement).unwrap_or(false);
            }
        }
        if !is_news {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nodes_agree_whatever_the_order(
        statements in prop::collection::vec(some_statement(), 1..24),
        cut in 0_usize..24,
    ) {
        let (mut one, mut other) = (Roster::new(first_charter()), Roster::new(first_charter()));
        let (early, late) = statements.split_at(cut.min(statements.len()));
        for statement in early {
            let _refused = one.insert(statement.clone());
        }
        for statement in late.iter().rev() {
            let _refused = other.insert(statement.clone());
        }
        exchange(&mut one, &mut other);
        prop_assert_eq!(one.digest(), other.digest());
        for subject in one.subjects() {
            prop_assert_eq!(one.member(&subject, NOW), other.member(&subject, NOW));
            let invite = id(20);
            let excerpt = one.excerpt(&subject, Some(&invite));
            prop_assert_eq!(excerpt.member(&subject, NOW), one.member(&subject, NOW));
            let claim = Claim::new(network(), invite, subject, String::new());
            prop_assert_eq!(excerpt.may_claim(&claim, NOW), one.may_claim(&claim, NOW));
        }
    }
}

#[test]
fn a_ticket_is_its_text_and_a_changed_one_is_not() {
    let contact = TicketContact { node: id(10), address: "/ip4/10.0.0.1/tcp/4001".into() };
    let invitation = Ticket::invitation(
        first_charter(),
        door(),
        vec![contact.clone()],
        (invite(20, 1, Some(LATER)), [20; 32]),
    );
    let bound = pass(11, MemberKind::Node, ADMIN).sign(&key(ADMIN)).unwrap();
    let bound = Ticket::bound(first_charter(), door(), vec![contact], bound);
    for ticket in [&invitation, &bound] {
        let text = ticket.to_string();
        assert!(text.starts_with("antiphon1") && !text.contains('='), "{text}");
        assert_eq!(text.parse::<Ticket>().as_ref(), Ok(ticket));
        assert_eq!(format!(" {text}\n").parse::<Ticket>().as_ref(), Ok(ticket));
        for end in 9..text.len() {
            assert_eq!(text[..end].parse::<Ticket>(), Err(TicketError::Damaged), "cut at {end}");
        }
        for at in [12, 60, text.len() - 1] {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(changed.parse::<Ticket>(), Err(TicketError::Damaged), "changed at {at}");
        }
    }
    assert_eq!("hello".parse::<Ticket>(), Err(TicketError::NoTicket));
    let newcomer = key(30);
    let claim = invitation.claim(&newcomer, "pi-4").unwrap();
    assert_eq!((claim.terms().subject, &*claim.terms().label), (newcomer.node(), "pi-4"));
    assert!(bound.claim(&newcomer, "pi-4").is_none());
}

#[test]
fn a_ticket_that_contradicts_itself_is_refused() {
    let ticket = |charter: Signed<Charter>, door, pass| {
        Ticket::invitation(charter, door, vec![], pass).to_string().parse::<Ticket>()
    };
    let right = || (invite(20, 1, None), [20; 32]);
    let refused = |result| matches!(result, Err(TicketError::Inconsistent(_)));
    assert!(ticket(first_charter(), door(), right()).is_ok());
    assert!(refused(ticket(first_charter(), Door::from_bytes([1; 32]), right())));
    assert!(refused(ticket(first_charter(), door(), (invite(20, 1, None), [21; 32]))));
    assert!(refused(ticket(charter(1, &[(OTHER_ADMIN, ">")]), door(), right())));
    let own = pass(20, MemberKind::Node, ADMIN).sign(&key(ADMIN)).unwrap();
    assert!(refused(ticket(first_charter(), door(), (own, [20; 32]))));
}
