//! Closed networks: how rosters spread, and who is out.

use std::collections::BTreeMap;

use super::*;
use crate::{
    engine::{Asker, Closed},
    limits::{CLAIMS_BEYOND_USES_MAX, ROSTER_CLOCK_TOLERANCE},
    model::{
        Hash, Realm,
        roster::{
            Admin, Charter, Claim, Door, Invitation, MemberKind, NetworkId, Pass, Revocation,
            Roster, Signed, Slot, Statement, StatementError, Told,
        },
    },
    wire::{PartDigest, RosterTold, RosterWanted, Statements},
};

pub(super) const ROOT: u8 = 101;
pub(super) const ADMIN: u8 = 102;
const INVITE: u8 = 103;
pub(super) const ISSUED: WallClock = WallClock(1_000);

pub(super) fn charter() -> Signed<Charter> {
    let admins = vec![Admin { key: key(ADMIN).node(), scope: ">".parse().unwrap() }];
    let name = "lab".parse().unwrap();
    let door = Door::from_bytes([9; 32]);
    Charter::first(name, key(ROOT).node(), admins, &door).sign(&key(ROOT)).unwrap()
}

pub(super) fn network() -> NetworkId {
    charter().terms().network()
}

pub(super) fn pass_until(number: u8, kind: MemberKind, expires: Option<WallClock>) -> Statement {
    let subject = (key(number).node(), kind);
    let mut pass = Pass::new(network(), subject, key(ADMIN).node(), ISSUED);
    pass.expires = expires;
    Statement::Pass(pass.sign(&key(ADMIN)).unwrap())
}

pub(super) fn pass(number: u8) -> Statement {
    pass_until(number, MemberKind::Node, None)
}

pub(super) fn revocation(number: u8) -> Statement {
    let subject = (key(number).node(), 0);
    let terms = Revocation::new(network(), subject, key(ADMIN).node(), ISSUED);
    Statement::Revocation(terms.sign(&key(ADMIN)).unwrap())
}

fn invite() -> Statement {
    let subject = (key(INVITE).node(), MemberKind::Invite);
    let mut pass = Pass::new(network(), subject, key(ADMIN).node(), ISSUED);
    pass.invitation = Some(Invitation { admits: MemberKind::Node, uses: 1, until: None });
    Statement::Pass(pass.sign(&key(ADMIN)).unwrap())
}

fn claim(number: u8) -> Statement {
    let newcomer = key(number);
    let claim =
        Claim::new(network(), key(INVITE).node(), newcomer.node(), format!("guest-{number}"));
    Statement::Claim(claim.sign(&key(INVITE), &newcomer).unwrap())
}

/// A revocation that an admin signed whose clock is ahead.
fn ahead_by(time: Duration) -> Statement {
    let issued = WallClock(ISSUED.0 + u64::try_from(time.as_millis()).unwrap());
    let terms = Revocation::new(network(), (key(9).node(), 0), key(ADMIN).node(), issued);
    Statement::Revocation(terms.sign(&key(ADMIN)).unwrap())
}

fn tell(statements: impl IntoIterator<Item = Statement>) -> NodeRequest {
    NodeRequest::TellRoster(statements.into_iter().collect())
}

/// A node of the closed network that knows these statements, and what it did at its start.
pub(super) fn member(
    number: u8,
    own: Vec<Statement>,
    recovered: Recovered,
) -> (Script, Vec<Output>) {
    let realm = Realm::of(charter().terms());
    let mut config = Config::new(key(number), realm, Incarnation(u64::from(number)), 0);
    config.closed = Some(Closed { charter: charter(), own });
    let engine = Engine::new(config, settled(number, recovered));
    let mut script = Script { engine, now: Now::default() };
    let outputs = script.give(Input::Timeout);
    (script, outputs)
}

fn rosters(outputs: &[Output]) -> Vec<&Roster> {
    let mut rosters = Vec::new();
    for output in outputs {
        if let Output::Roster(roster) = output {
            rosters.push(roster.as_ref());
        }
    }
    rosters
}

fn kept(outputs: &[Output]) -> Vec<Option<Statement>> {
    let kept = |output: &Output| match output {
        Output::Write(_, Write::Statement { statement, .. }) => Some(statement.clone()),
        _ => None,
    };
    outputs.iter().filter_map(kept).collect()
}

fn disconnected(outputs: &[Output]) -> Vec<NodeId> {
    let node = |output: &Output| match output {
        Output::Disconnect(node) => Some(*node),
        _ => None,
    };
    outputs.iter().filter_map(node).collect()
}

/// Engines that are joined by all that concerns rosters.
struct Cluster {
    nodes: BTreeMap<u8, Script>,
    /// How many requests about rosters were carried out.
    asked: usize,
}

impl Cluster {
    fn new(nodes: impl IntoIterator<Item = (u8, Vec<Statement>)>) -> Self {
        let nodes = nodes.into_iter();
        let nodes =
            nodes.map(|(number, own)| (number, member(number, own, Recovered::default()).0));
        Self { nodes: nodes.collect(), asked: 0 }
    }

    fn connect(&mut self, one: u8, other: u8) {
        for (at, to) in [(one, other), (other, one)] {
            let outputs = self.nodes.get_mut(&at).unwrap().give(Input::Connected(contact(to)));
            self.carry_out(at, outputs);
        }
    }

    fn give(&mut self, at: u8, input: Input) -> Vec<Output> {
        let outputs = self.nodes.get_mut(&at).unwrap().give(input);
        self.carry_out(at, outputs.clone());
        outputs
    }

    /// Passes requests about rosters on, and their answers back, until there are no more. All
    /// writes are flushed at once, and all other requests fail.
    fn carry_out(&mut self, at: u8, outputs: Vec<Output>) {
        let mut todo: VecDeque<_> = outputs.into_iter().map(|output| (at, output)).collect();
        while let Some((at, output)) = todo.pop_front() {
            let more = match output {
                Output::Write(number, _) => {
                    self.nodes.get_mut(&at).unwrap().give(Input::Durable(number))
                }
                Output::Ask { ask, to, request } => {
                    let result = self.answer(at, to, request, &mut todo);
                    self.nodes.get_mut(&at).unwrap().give(Input::Told { ask, result })
                }
                _ => Vec::new(),
            };
            todo.extend(more.into_iter().map(|output| (at, output)));
        }
    }

    fn answer(
        &mut self,
        from: u8,
        to: NodeId,
        request: Request,
        todo: &mut VecDeque<(u8, Output)>,
    ) -> Result<Response, Failure> {
        let is_about_rosters = matches!(
            request,
            Request::Node(NodeRequest::CompareRoster(_) | NodeRequest::TellRoster(_))
        );
        let other = self.nodes.keys().copied().find(|number| key(*number).node() == to);
        let Some(other) = other.filter(|_| is_about_rosters) else {
            return Err(Failure::Unreachable);
        };
        self.asked += 1;
        let asker = Asker::Node(key(from).node());
        let input = Input::Asked { question: QuestionId(1), asker, request };
        let mut result = Err(Failure::Unreachable);
        for output in self.nodes.get_mut(&other).unwrap().give(input) {
            match output {
                Output::Answer { response, .. } => result = Ok(response),
                output => todo.push_back((other, output)),
            }
        }
        result
    }

    fn knows(&self, at: u8, number: u8) -> bool {
        self.nodes[&at].engine.core.members.get(&key(number).node()).is_some()
    }
}

fn three() -> Cluster {
    let passes = || vec![pass(1), pass(2), pass(3)];
    let mut cluster = Cluster::new((1..=3).map(|number| (number, passes())));
    for (one, other) in [(1, 2), (2, 3), (1, 3)] {
        cluster.connect(one, other);
    }
    cluster
}

#[test]
fn a_start_tells_the_roster_and_keeps_what_is_new_to_the_store() {
    let (_, outputs) = member(1, vec![pass(1)], Recovered::default());
    assert_eq!(rosters(&outputs).len(), 1);
    assert_eq!(kept(&outputs), [Some(Statement::Charter(charter())), Some(pass(1))]);
    let mut recovered = Recovered::default();
    for output in &outputs {
        if let Output::Write(_, write) = output {
            recovered.apply(write);
        }
    }
    let (_, again) = member(1, vec![pass(1)], recovered);
    assert_eq!(rosters(&again), rosters(&outputs));
    assert_eq!(kept(&again), [], "it is there");
}

#[test]
fn news_spreads_and_what_is_no_news_costs_nothing() {
    let mut cluster = three();
    let outputs = cluster.give(1, Input::Admitted(vec![invite(), claim(4)]));
    assert_eq!(kept(&outputs), [Some(invite()), Some(claim(4))]);
    let newest = rosters(&outputs)[0].clone();
    assert!(newest.member(&key(4).node(), ISSUED).is_ok());
    for number in [2, 3] {
        let wanted = RosterWanted::Digest(newest.digest());
        let request = Request::Node(NodeRequest::CompareRoster(wanted));
        let outputs = cluster.nodes.get_mut(&number).unwrap().give(Input::Asked {
            question: QuestionId(7),
            asker: Asker::Node(key(1).node()),
            request,
        });
        let told = Output::Answer {
            question: QuestionId(7),
            response: Response::Roster(RosterTold::Same),
            after: None,
        };
        assert_eq!(outputs, [told]);
    }
    let asked = cluster.asked;
    assert_eq!(cluster.give(1, Input::Admitted(vec![invite(), claim(4)])), []);
    assert_eq!(cluster.asked, asked);
}

#[test]
fn nodes_that_connect_learn_from_each_other_whatever_each_knew() {
    let own = |number| match number {
        1 => vec![pass(1), pass(2), invite(), revocation(9)],
        _ => vec![pass(2), pass(1), pass(9), pass(3), invite(), claim(4)],
    };
    for order in [(1, 2), (2, 1)] {
        let mut cluster = Cluster::new([1, 2].map(|number| (number, own(number))));
        cluster.connect(order.0, order.1);
        // Each one compares when it connects, and again later.
        cluster.connect(order.0, order.1);
        let digests = [1, 2].map(|at| cluster.nodes[&at].engine.roster.digest());
        assert_eq!(digests[0], digests[1]);
    }
}

#[test]
fn who_is_removed_is_out_at_once_and_does_not_come_back_by_hearsay() {
    let mut cluster = three();
    let outputs = cluster.give(1, Input::Admitted(vec![revocation(3)]));
    assert_eq!(disconnected(&outputs), [key(3).node()]);
    assert!(!cluster.knows(1, 3) && !cluster.knows(2, 3), "it is forgotten everywhere");
    assert_eq!(disconnected(&cluster.give(2, Input::Connected(contact(3)))), [key(3).node()]);
    cluster.give(2, Input::Discovered(contact(3)));
    let script = cluster.nodes.get_mut(&2).unwrap();
    let dials = script.pass(Duration::from_secs(1));
    let is_dial =
        |output: &Output| matches!(output, Output::Dial(contact) if contact.node == key(3).node());
    assert!(!dials.iter().any(is_dial), "{dials:?}");
    for asker in [Asker::Node(key(3).node()), Asker::Client(Some(key(3).node()))] {
        let request = Request::Client(ClientRequest::Peers);
        let outputs = script.give(Input::Asked { question: QuestionId(9), asker, request });
        let is_refused = |output: &Output| {
            matches!(
                output,
                Output::Answer { response: Response::Refused(Refusal::NotAllowed { .. }), .. }
            )
        };
        assert!(outputs.iter().any(is_refused), "{outputs:?}");
    }
}

#[test]
fn who_was_heard_of_and_is_removed_before_it_came_is_not_dialled() {
    let mut cluster = Cluster::new([(1, vec![pass(1), pass(3)])]);
    cluster.give(1, Input::Discovered(contact(3)));
    cluster.give(1, Input::Admitted(vec![revocation(3)]));
    let dials = cluster.nodes.get_mut(&1).unwrap().pass(Duration::from_secs(5));
    let is_dial = |output: &Output| matches!(output, Output::Dial(_));
    assert!(!dials.iter().any(is_dial), "{dials:?}");
}

#[test]
fn whose_pass_has_ended_is_out() {
    let ends = pass_until(2, MemberKind::Node, Some(WallClock(5_000)));
    let mut cluster = Cluster::new([(1, vec![pass(1), ends.clone()]), (2, vec![pass(1), ends])]);
    cluster.connect(1, 2);
    let script = cluster.nodes.get_mut(&1).unwrap();
    // It holds for a while after its end, because clocks differ.
    script.now.wall = script.now.wall.plus(ROSTER_CLOCK_TOLERANCE);
    assert_eq!(disconnected(&script.pass(Duration::from_millis(4_900))), []);
    assert_eq!(disconnected(&script.pass(Duration::from_millis(1_100))), [key(2).node()]);
}

#[test]
fn an_admins_clock_that_is_ahead_ends_nothing_early() {
    let ends = pass_until(2, MemberKind::Node, Some(WallClock(60_000)));
    let ahead = ahead_by(Duration::from_hours(24));
    let mut cluster = Cluster::new([(1, vec![pass(1), ends]), (2, vec![pass(1)])]);
    cluster.connect(1, 2);
    let outputs = cluster.give(1, Input::Admitted(vec![ahead]));
    assert_eq!(rosters(&outputs).len(), 1, "it is news");
    let script = cluster.nodes.get_mut(&1).unwrap();
    assert_eq!(disconnected(&script.pass(Duration::from_secs(55))), []);
    assert_eq!(disconnected(&script.pass(Duration::from_secs(10))), [key(2).node()]);
}

#[test]
fn claims_that_give_way_leave_the_store_too() {
    let (mut script, _) = member(1, vec![pass(1), invite()], Recovered::default());
    let mut claims: Vec<_> = (20..30).map(claim).collect();
    // The last one in rank comes first, so that each one puts another one out.
    claims.sort_by_key(|claim| std::cmp::Reverse(claim.hash()));
    let mut recovered = Recovered::default();
    let (mut tells, asker) = (0, Asker::Node(key(2).node()));
    script.give(Input::Connected(contact(2)));
    for claim in claims {
        tells += 1;
        let request = Request::Node(tell([claim]));
        let question = QuestionId(tells);
        for output in script.give(Input::Asked { question, asker, request }) {
            if let Output::Write(_, write) = output {
                recovered.apply(&write);
            }
        }
    }
    let is_claim = |statement: &&Statement| matches!(statement, Statement::Claim(_));
    assert_eq!(recovered.roster.iter().filter(is_claim).count(), 1 + CLAIMS_BEYOND_USES_MAX);
    let shared = script.engine.roster.shared().unwrap();
    assert!(recovered.roster.iter().all(|statement| shared.has(statement)));
}

#[test]
fn what_is_refused_or_known_copies_nothing() {
    let (mut script, outputs) = member(1, vec![pass(1), pass(2), invite()], Recovered::default());
    let Some(Output::Roster(world)) =
        outputs.iter().find(|output| matches!(output, Output::Roster(_)))
    else {
        panic!("the world has it");
    };
    let stranger = Pass::new(network(), (key(7).node(), MemberKind::Node), key(7).node(), ISSUED);
    let stranger = Statement::Pass(stranger.sign(&key(7)).unwrap());
    script.give(Input::Connected(contact(2)));
    let request = Request::Node(tell([stranger, pass(2), invite()]));
    let asker = Asker::Node(key(2).node());
    let outputs = script.give(Input::Asked { question: QuestionId(1), asker, request });
    let is_noted =
        |output: &Output| matches!(output, Output::Answer { response: Response::Noted, .. });
    assert!(outputs.len() == 1 && is_noted(&outputs[0]), "{outputs:?}");
    assert!(std::sync::Arc::ptr_eq(world, script.engine.roster.shared().unwrap()));
}

#[test]
fn only_what_puts_somebody_out_is_passed_on_from_node_to_node() {
    let told = |asker: Asker, statement: Statement| {
        let passes = (1..=5).map(pass).collect();
        let (mut script, _) = member(1, passes, Recovered::default());
        (2..=5).for_each(|number| drop(script.give(Input::Connected(contact(number)))));
        let request = Request::Node(tell([statement]));
        let outputs = script.give(Input::Asked { question: QuestionId(1), asker, request });
        let is_told = |output: &&Output| {
            matches!(output, Output::Ask { request: Request::Node(NodeRequest::TellRoster(_)), .. })
        };
        outputs.iter().filter(is_told).count()
    };
    let node = Asker::Node(key(2).node());
    assert_eq!(told(node, pass(9)), 0);
    assert_eq!(told(node, revocation(9)), 3, "all but the one that told of it");
    for person in [Asker::Operator, Asker::Program] {
        assert_eq!(told(person, pass(9)), 4);
    }
}

#[test]
fn an_operator_hears_why_a_statement_is_not_taken_and_nothing_changes() {
    let (mut script, _) = member(1, vec![pass(1), pass(2)], Recovered::default());
    script.give(Input::Connected(contact(2)));
    let before = script.engine.roster.shared().unwrap().digest();
    let stranger = Pass::new(network(), (key(7).node(), MemberKind::Node), key(7).node(), ISSUED);
    let stranger = Statement::Pass(stranger.sign(&key(7)).unwrap());
    let mut ask = |asker: Asker, statements: Vec<Statement>| {
        let request = Request::Node(tell(statements));
        let outputs = script.give(Input::Asked { question: QuestionId(1), asker, request });
        let answer = outputs.into_iter().find_map(|output| match output {
            Output::Answer { response, .. } => Some(response),
            _ => None,
        });
        (answer.unwrap(), script.engine.roster.shared().unwrap().digest())
    };
    let statements = || vec![pass(3), stranger.clone()];
    let (response, after) = ask(Asker::Operator, statements());
    let why = format!("its signer {} is no admin of this network", key(7).node());
    assert_eq!(response, Response::Refused(Refusal::Invalid(why)));
    assert_eq!(after, before);
    // A node may have an older charter. What else it says counts.
    let (response, after) = ask(Asker::Node(key(2).node()), statements());
    assert_eq!(response, Response::Noted);
    assert_ne!(after, before);
}

#[test]
fn who_tells_something_false_is_refused_and_not_heard_further() {
    let (mut script, _) = member(1, vec![pass(1), pass(2)], Recovered::default());
    script.give(Input::Connected(contact(2)));
    let mut bytes = pass(3).bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = Told::read(1, bytes.into()).unwrap();
    let told = Statements(vec![pass(4).into(), forged, pass(5).into()]);
    let asker = Asker::Node(key(2).node());
    let request = Request::Node(NodeRequest::TellRoster(told));
    let outputs = script.give(Input::Asked { question: QuestionId(1), asker, request });
    assert_eq!(kept(&outputs), [Some(pass(4))]);
    let why = StatementError::Forged.to_string();
    let response = Response::Refused(Refusal::Invalid(why));
    assert!(outputs.contains(&Output::Answer { question: QuestionId(1), response, after: None }));
}

#[test]
fn a_node_that_never_ends_its_answers_is_left() {
    let (mut script, _) = member(1, vec![pass(1), pass(2)], Recovered::default());
    let asks = |outputs: Vec<Output>| {
        outputs.into_iter().find_map(|output| match output {
            Output::Ask { ask, request: Request::Node(NodeRequest::CompareRoster(_)), .. } => {
                Some(ask)
            }
            _ => None,
        })
    };
    let mut ask = asks(script.give(Input::Connected(contact(2))));
    let part = PartDigest { part: 7, digest: Hash([1; 32]) };
    let charter = [Statement::Charter(charter())].into_iter().collect();
    let mut told = RosterTold::Differs(vec![part], charter);
    for page in 0_u32.. {
        assert!(page < 2_000, "it is asked for ever");
        let Some(asked) = ask else { break };
        let result = Ok(Response::Roster(told));
        ask = asks(script.give(Input::Told { ask: asked, result }));
        let mut after = [7; 32];
        after[1..5].copy_from_slice(&page.to_be_bytes());
        let after = Slot::Pass(NodeId::from_bytes(after), key(ADMIN).node());
        told = RosterTold::Part(Statements::default(), Some(after));
    }
}

#[test]
fn a_node_that_nothing_admits_is_out_after_a_while() {
    let mut cluster = Cluster::new([(1, vec![pass(1)])]);
    cluster.give(1, Input::Connected(contact(2)));
    let script = cluster.nodes.get_mut(&1).unwrap();
    assert_eq!(disconnected(&script.pass(Duration::from_secs(1))), []);
    assert_eq!(disconnected(&script.pass(Duration::from_secs(11))), [key(2).node()]);
}

#[test]
fn an_open_network_has_no_roster_and_refuses_all_of_it() {
    let mut script = Script::new();
    script.connect(2);
    assert_eq!(script.give(Input::Admitted(vec![Statement::Charter(charter()), pass(3)])), []);
    let digest = charter().hash();
    for request in [
        NodeRequest::CompareRoster(RosterWanted::Digest(digest)),
        tell([Statement::Charter(charter())]),
    ] {
        let outputs = script.give(Input::Asked {
            question: QuestionId(5),
            asker: Asker::Node(key(2).node()),
            request: Request::Node(request),
        });
        let response = Response::Refused(Refusal::Unsupported(None));
        assert_eq!(outputs, [Output::Answer { question: QuestionId(5), response, after: None }]);
    }
}
