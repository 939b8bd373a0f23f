//! A closed network. Its root and its admins are no nodes: they sign statements, and tell nodes of
//! them as clients do. Who belongs is counted here once more, without the code of the roster.

mod admin;
mod charters;
mod closing;
mod deceiver;
mod forger;
mod judge;
mod settle;
mod stranger;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use antiphon::{
    engine,
    engine::Input,
    model::{
        NodeId, NodeKey, Realm,
        roster::{
            Admin as Named, Charter, Credentials, Door, Excluded, Invitation, MemberKind,
            NetworkId, Pass, Revocation, Roster, Signed, Slot, Statement,
        },
    },
    wire::{NodeRequest, Request},
};

pub(crate) use self::{admin::Admin, judge::Admission, stranger::all as strangers};
use crate::world::{
    Event, World,
    clients::Kind,
    invariants::{put_out, statements, strangers},
    node::{Asker, right_wall},
};

/// How often it is looked who is connected with whom.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What a run of a closed network is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) admins: usize,
    /// Whether members are removed.
    pub(crate) removes: bool,
    /// Whether the logs of those who were removed are closed.
    pub(crate) closes: bool,
    /// Whether disks may lose what they have flushed.
    pub(crate) destroys: bool,
    /// Whether a member deceives the others about who belongs.
    pub(crate) deceives: bool,
    /// Whether somebody signs with the keys of nodes that were removed.
    pub(crate) forges: bool,
}

/// An invitation, and its key, which a ticket has.
#[derive(Debug, Clone)]
struct Ticket {
    key: NodeKey,
    pass: Signed<Pass>,
}

/// A closed network, as its root and its admins know it.
#[derive(Debug)]
pub(crate) struct ClosedNetwork {
    pub(crate) plan: Plan,
    root: NodeKey,
    first: Signed<Charter>,
    pub(crate) charter: Signed<Charter>,
    /// The admins by the newest charter. The first one has the root's key.
    admins: Vec<NodeKey>,
    /// How many admins there ever were: no key is used again.
    admins_ever: u8,
    tickets: Vec<Ticket>,
    /// A ticket for one machine, which no node here has.
    shared: Ticket,
    /// The newest pass of each key, and the revocation with the highest turn.
    passes: BTreeMap<NodeId, Signed<Pass>>,
    revocations: BTreeMap<NodeId, Signed<Revocation>>,
    /// The invitations that nodes came by.
    claimed: BTreeMap<NodeId, NodeId>,
    /// What each admin has signed anything about.
    slots: BTreeMap<NodeId, BTreeSet<Slot>>,
    /// What nodes said that they had noted, and which one.
    pub(crate) told: Vec<(usize, Statement)>,
    /// What closures make void.
    void: closing::Void,
    /// Nodes that were out at any time.
    pub(crate) ever_out: BTreeSet<usize>,
}

fn key(first: u8, number: usize) -> NodeKey {
    let number = u8::try_from(number).expect("few");
    NodeKey::from_secret(&std::array::from_fn(|at| if at == 0 { first } else { number }))
}

impl ClosedNetwork {
    fn found(plan: Plan) -> Self {
        let root = key(240, 0);
        let admins: Vec<_> = (0..plan.admins).map(|number| key(230, number)).collect();
        let named = admins.iter().map(named).collect();
        let door = Door::from_bytes([9; 32]);
        let charter = Charter::first("lab".parse().unwrap(), root.node(), named, &door);
        let charter = charter.sign(&root).unwrap();
        let network = charter.terms().network();
        let shared = invitation(network, &admins[0], (key(221, 0), 1), Duration::ZERO);
        Self {
            plan,
            first: charter.clone(),
            charter,
            root,
            admins_ever: u8::try_from(admins.len()).expect("few"),
            admins,
            tickets: Vec::new(),
            shared,
            passes: BTreeMap::new(),
            revocations: BTreeMap::new(),
            claimed: BTreeMap::new(),
            slots: BTreeMap::new(),
            told: Vec::new(),
            void: closing::Void::default(),
            ever_out: BTreeSet::new(),
        }
    }

    /// What topics get their ids from.
    pub(crate) fn realm(&self) -> Realm {
        Realm::of(self.charter.terms())
    }

    /// Whether a key belongs to the network by all that was signed. A member by a ticket may yet be
    /// refused, if others have used it up.
    pub(crate) fn is_member(&self, node: &NodeId) -> bool {
        let pass = self.passes.get(node).map(Signed::terms);
        let turn = pass.filter(|pass| pass.kind == MemberKind::Node).map(|pass| pass.turn);
        let removed = self.revocations.get(node).map(|it| it.terms().turn);
        let is_withdrawn = |invite: &NodeId| self.revocations.contains_key(invite);
        turn > removed
            || removed.is_none() && self.claimed.get(node).is_some_and(|it| !is_withdrawn(it))
    }

    /// Whether a key belongs to it by a pass, which nobody else can use up.
    pub(crate) fn has_pass(&self, node: &NodeId) -> bool {
        self.passes.contains_key(node) && self.is_member(node)
    }

    fn pass(
        &self,
        (subject, kind): (NodeId, MemberKind),
        admin: &NodeKey,
        world: Duration,
    ) -> Pass {
        let network = self.charter.terms().network();
        Pass::new(network, (subject, kind), admin.node(), right_wall(world))
    }

    fn revocation(
        &self,
        subject: NodeId,
        turn: u32,
        (admin, now): (&NodeKey, Duration),
    ) -> Revocation {
        let network = self.charter.terms().network();
        Revocation::new(network, (subject, turn), admin.node(), right_wall(now))
    }
}

/// A ticket, and how many machines may use it.
fn invitation(
    network: NetworkId,
    admin: &NodeKey,
    (key, uses): (NodeKey, u32),
    now: Duration,
) -> Ticket {
    let subject = (key.node(), MemberKind::Invite);
    let mut pass = Pass::new(network, subject, admin.node(), right_wall(now));
    pass.invitation = Some(Invitation { admits: MemberKind::Node, uses, until: None });
    Ticket { pass: pass.sign(admin).unwrap(), key }
}

/// Notes since when something holds of a node.
fn note(since: &mut BTreeMap<NodeId, Duration>, id: NodeId, holds: bool, now: Duration) {
    if holds {
        since.entry(id).or_insert(now);
    } else {
        since.remove(&id);
    }
}

fn named(admin: &NodeKey) -> Named {
    Named { key: admin.node(), scope: ">".parse().unwrap() }
}

impl World {
    /// Makes this the world of a closed network, before there are nodes.
    pub(crate) fn close(&mut self, plan: Plan) {
        let closed = ClosedNetwork::found(plan);
        let realm = closed.realm();
        for topic in &mut self.options.topics {
            topic.id = realm.topic(&topic.name.parse().unwrap());
        }
        self.trace.note(self.now, || format!("a closed network: {plan:?}"));
        self.closed = Some(closed);
        self.event(LOOK_INTERVAL, Event::Look);
    }

    fn network(&mut self) -> &mut ClosedNetwork {
        self.closed.as_mut().expect("a closed network")
    }

    /// Keeps what an admin or a newcomer has signed. Who is out by it?
    fn signed(&mut self, statements: &[Statement]) {
        let before = self.all_out();
        let closed = self.network();
        for statement in statements {
            let issuer = match statement {
                Statement::Pass(pass) => Some(pass.terms().issuer),
                Statement::Revocation(revocation) => Some(revocation.terms().issuer),
                _ => None,
            };
            if let Some(issuer) = issuer {
                closed.slots.entry(issuer).or_default().insert(statement.slot());
            }
            match statement {
                Statement::Charter(charter) => closed.charter = charter.clone(),
                Statement::Pass(pass) => {
                    let known = closed.passes.get(&pass.terms().subject);
                    if known.is_none_or(|known| known.terms().turn <= pass.terms().turn) {
                        closed.passes.insert(pass.terms().subject, pass.clone());
                    }
                }
                Statement::Claim(claim) => {
                    closed.claimed.insert(claim.terms().subject, claim.terms().invite);
                }
                Statement::Revocation(revocation) => {
                    let known = closed.revocations.get(&revocation.terms().subject);
                    if known.is_none_or(|known| known.terms().turn <= revocation.terms().turn) {
                        closed.revocations.insert(revocation.terms().subject, revocation.clone());
                    }
                }
                Statement::Closure(_) => {}
            }
        }
        let out = self.all_out();
        let new: Vec<_> = out.difference(&before).copied().collect();
        self.put_out_now(&new);
        before.difference(&out).for_each(|index| self.is_back(*index));
        self.network().ever_out.extend(out);
    }

    fn all_out(&self) -> BTreeSet<usize> {
        (0..self.nodes.len()).filter(|index| self.is_out(*index)).collect()
    }

    /// Whether a node does not belong to this closed network, by all that was signed.
    pub(crate) fn is_out(&self, index: usize) -> bool {
        let id = self.nodes[index].id;
        self.closed.as_ref().is_some_and(|closed| !closed.is_member(&id))
    }

    /// Whether a node did not belong to this network at some time.
    pub(crate) fn was_out(&self, index: usize) -> bool {
        self.closed.as_ref().is_some_and(|closed| closed.ever_out.contains(&index))
    }

    /// Since when a node knows that another one is out.
    pub(crate) fn knows_out(&self, index: usize, other: usize) -> Option<Duration> {
        let id = self.nodes[other].id;
        let admission = self.nodes[index].admission.as_ref();
        admission.and_then(|admission| admission.out.get(&id).copied())
    }

    /// What admits a node to this network: of one that is there at the start, a pass; of a newcomer
    /// also a ticket, which may be used up, or withdrawn.
    pub(crate) fn admission(&mut self, node: &NodeKey) -> Option<Admission> {
        self.closed.as_ref()?;
        let is_founder = self.now.is_zero();
        let own = if is_founder || self.choices.chance(300) {
            let admin = self.some_admin();
            let now = self.now;
            let closed = self.network();
            let pass = closed.pass((node.node(), MemberKind::Node), &admin, now);
            Credentials::own(pass.sign(&admin).unwrap())
        } else {
            let ticket = self.some_ticket();
            let network = self.network().charter.terms().network();
            let label = format!("guest-{}", self.nodes.len());
            let claim =
                antiphon::model::roster::Claim::new(network, ticket.key.node(), node.node(), label);
            Credentials::claimed(ticket.pass, claim.sign(&ticket.key, node).unwrap())
        };
        let own = own.unwrap();
        let charter = self.network().charter.clone();
        // The pass of a ticket may have been signed again since.
        let own_statements = own.statements();
        let news = own_statements.last().into_iter().cloned().collect::<Vec<_>>();
        self.signed(&news);
        Some(Admission::new(charter, own))
    }

    fn some_admin(&mut self) -> NodeKey {
        let admins = self.network().admins.clone();
        admins[self.choices.index(admins.len())].clone()
    }

    fn some_ticket(&mut self) -> Ticket {
        let tickets = self.network().tickets.clone();
        if !tickets.is_empty() && self.choices.chance(600) {
            return tickets[self.choices.index(tickets.len())].clone();
        }
        let admin = self.some_admin();
        let uses = self.choices.pick(&[1, 2]);
        let now = self.now;
        let closed = self.network();
        let (key, network) = (key(220, closed.tickets.len()), closed.charter.terms().network());
        let ticket = invitation(network, &admin, (key, uses), now);
        closed.tickets.push(ticket.clone());
        self.signed(&[Statement::Pass(ticket.pass.clone())]);
        ticket
    }

    /// The admins are there.
    pub(crate) fn begin_admins(&mut self) {
        for admin in self.network().admins.clone() {
            self.add_client(Kind::Admin(Box::new(Admin::new(admin))));
        }
    }

    /// A node's engine tells who belongs from now on.
    pub(crate) fn roster_told(&mut self, index: usize, roster: Arc<Roster>) {
        let now = self.now;
        let ids: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
        let id = self.nodes[index].id;
        let wall = self.nodes[index].wall(now);
        let result = strangers::none_in(index, &roster);
        self.check(strangers::NAME, result);
        let Some(admission) = &mut self.nodes[index].admission else { return };
        for id in ids {
            let excluded = roster.member(&id, wall).err();
            let is_unknown = excluded == Some(Excluded::Unknown);
            note(&mut admission.unknown, id, is_unknown, now);
            note(&mut admission.out, id, excluded.is_some() && !is_unknown, now);
        }
        let turn = |roster: &Roster| roster.pass(&id).map_or(0, |pass| pass.terms().turn);
        let before = admission.roster.as_deref().map_or(u32::MAX, turn);
        let is_back = turn(&roster) > before;
        let is_first = admission.roster.replace(roster).is_none();
        if is_back {
            self.is_back(index);
        }
        if is_first {
            let result = statements::kept_since_start(self, index);
            self.check(statements::NAME, result);
        }
    }

    /// A node hears of another one: who was put out, and is admitted again, is known to nobody.
    fn discover(&mut self) {
        let running = self.running();
        if running.len() > 1 {
            let (one, other) =
                (self.choices.index(running.len()), self.choices.index(running.len()));
            let contact = self.contact(running[other]);
            self.input(running[one], Duration::from_millis(10), Input::Discovered(contact));
        }
    }

    /// It is looked who is connected with whom. A stranger tries its luck.
    pub(crate) fn look(&mut self) {
        self.event(LOOK_INTERVAL, Event::Look);
        let result = put_out::disconnected(self);
        self.check(put_out::NAME, result);
        self.discover();
        if self.faulty {
            // A claim of its making may replace another one, which takes a while to get around.
            self.deceiver_tells();
            self.deceiver_passes_on();
            if self.choices.chance(300) {
                self.stranger_tries();
            }
        }
    }

    /// Tells a node of statements, as an operator does, and waits for nothing.
    fn tell(&mut self, index: usize, statements: Vec<Statement>) {
        let question = self.question(index, Asker::World);
        self.nodes[index].told.insert(question, statements.clone());
        let request = Request::Node(NodeRequest::TellRoster(statements.into_iter().collect()));
        let asker = engine::Asker::Operator;
        self.handle(index, Input::Asked { question, asker, request });
    }

    /// A node has said that it has noted statements.
    pub(crate) fn noted(&mut self, index: usize, told: Vec<Statement>) {
        if let Some(admission) = &mut self.nodes[index].admission {
            admission.noted.extend(told.iter().cloned());
        }
        if let Some(closed) = &mut self.closed {
            closed.told.extend(told.into_iter().map(|statement| (index, statement)));
        }
    }
}
