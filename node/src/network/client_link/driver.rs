//! The task of a client's link: it brings requests to a node, and to another one when that node
//! is lost, silent, late or refuses.

mod events;

use std::{collections::BTreeSet, time::Duration};

use antiphon::wire::{ClientRequest, Peer, Request};
use futures::StreamExt;
use libp2p::{PeerId, swarm::ConnectionId};
use tokio::sync::{mpsc, watch};

use super::{
    Command,
    asks::Asks,
    connector::{Connector, Next},
    nodes::Nodes,
    patience::{
        ACQUAINT_AFTER, ACQUAINT_INTERVAL, ACQUAINT_RETRY, DIAL_PACE, OVERSLEPT, Patience,
        REDIAL_PAUSE, SPARE_REDIAL_PAUSE,
    },
};
use crate::{
    client::{ConnectionState, LinkError},
    network::{
        behaviour::EXCHANGE_TIMEOUT,
        rpc::{ASKS_PER_PEER_MAX, RequestId},
        translate::node_of,
    },
};

/// The state of a link.
pub(super) struct Driver {
    connector: Connector,
    nodes: Nodes,
    asks: Asks,
    patience: Patience,
    /// The question for other nodes that is under way, and when the next one is due.
    acquainting: Option<RequestId>,
    acquaint_at: Duration,
    /// Doubles while a node does not answer: one that is busy has longer to answer each time.
    acquaint_pause: Duration,
    /// When it may look again which nodes run on this machine.
    refresh_at: Duration,
    /// Whether it is time for a second connection.
    wants_spare: bool,
    /// Connected nodes that did not speak the protocol once.
    doubted: BTreeSet<PeerId>,
    /// Where clients begin among the nodes that they learn of: each elsewhere.
    turn: usize,
}

/// When nothing is due.
const IDLE: Duration = Duration::from_mins(1);

impl Driver {
    /// A link that is connected to no node yet.
    pub(super) fn new(connector: Connector) -> Self {
        let now = connector.now();
        let own = connector.swarm.local_peer_id().to_bytes();
        Self {
            connector,
            nodes: Nodes::default(),
            asks: Asks::default(),
            patience: Patience::new(),
            acquainting: None,
            acquaint_at: now + ACQUAINT_INTERVAL,
            acquaint_pause: ACQUAINT_RETRY,
            refresh_at: now + REDIAL_PAUSE,
            wants_spare: false,
            doubted: BTreeSet::new(),
            turn: own.last().copied().map_or(0, usize::from),
        }
    }

    /// Whether there is a node at present.
    pub(super) fn state(&self) -> ConnectionState {
        let speaking = self.nodes.speaking(self.connector.now());
        match speaking.and_then(|node| node_of(&node)) {
            Some(node) => ConnectionState::Connected(node),
            None => ConnectionState::Searching {
                known: self.connector.candidates.len(),
                causes: self.connector.causes().into_iter().chain(self.nodes.silences()).collect(),
            },
        }
    }

    /// Serves the link until nobody holds it any more. `report` says whether there is a node at
    /// present.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        report: watch::Sender<ConnectionState>,
    ) {
        loop {
            let now = self.connector.now();
            let due = self.attend(now);
            let state = self.state();
            report.send_if_modified(|reported| {
                let is_news = *reported != state;
                *reported = state;
                is_news
            });
            let has_room = self.asks.len() < ASKS_PER_PEER_MAX;
            tokio::select! {
                event = self.connector.swarm.select_next_some() => self.handle_event(event),
                command = commands.recv(), if has_room => match command {
                    Some(command) => {
                        let late_after = self.patience.late_after();
                        self.asks.add(command, self.connector.now(), late_after);
                    }
                    None => return,
                },
                () = tokio::time::sleep_until(self.connector.clock.at(due)) => {}
            }
            if self.connector.now() > due + OVERSLEPT {
                self.nodes.forgive(self.connector.now());
            }
        }
    }

    /// Does what is due, and says when to look again.
    fn attend(&mut self, now: Duration) -> Duration {
        self.asks.forget_abandoned();
        for id in self.asks.overdue(now) {
            self.connector.swarm.behaviour_mut().rpc.give_up(id);
            if let Some(exchange) = self.asks.ended(id) {
                self.nodes.answered(&exchange.node);
                self.asks.fail(exchange.ask, LinkError::TimedOut(EXCHANGE_TIMEOUT));
            }
        }
        let dials_due = self.connector.tend_dials(now);
        let wants_other = self.distribute(now);
        let connect_due = self.connect_more(wants_other, now);
        if self.acquaint_at <= now {
            self.acquaint(now);
        }
        let late = self.asks.open.values().filter_map(|ask| ask.late_at);
        let dues = [dials_due, connect_due, self.nodes.next_silence(now), Some(self.acquaint_at)];
        let waits = self.asks.open.values().filter_map(|ask| ask.waits_until);
        let dues = dues.into_iter().flatten().chain(late).chain(waits).filter(|due| *due > now);
        // A moment later, so that what is due then is due, and not about to be.
        dues.min().unwrap_or(now + IDLE) + Duration::from_millis(1)
    }

    /// Sends each request that needs it to one more node; whether one wants a node that is not
    /// connected.
    fn distribute(&mut self, now: Duration) -> bool {
        let mut wants_other = false;
        let nodes = &self.nodes;
        let wanting = self.asks.open.iter();
        let wanting: Vec<u64> = wanting
            .filter(|(_, ask)| ask.wants_node(|node| nodes.is_silent(node, now), now))
            .map(|(name, _)| *name)
            .collect();
        for name in wanting {
            wants_other |= self.send_on(name, now);
        }
        if self.connector.candidates.are_exhausted() && self.nodes.is_empty() {
            self.asks.give_up(&self.connector.causes());
        }
        wants_other
    }

    /// Sends a request to the next node; whether it wants one that is not connected.
    fn send_on(&mut self, name: u64, now: Duration) -> bool {
        let Some(ask) = self.asks.open.get_mut(&name) else { return false };
        let is_under_way = !ask.at.is_empty();
        let is_late = !ask.at.iter().all(|node| self.nodes.is_silent(node, now));
        let chosen = self.nodes.choose(&ask.asked, now);
        // A silent node is better than none, and no better than another silent one.
        let chosen = chosen.filter(|node| !is_under_way || !self.nodes.is_silent(node, now));
        let Some(node) = chosen else {
            let wants_other = self.can_reach_other(name, now);
            if !is_under_way && !wants_other {
                self.asks.fall_back(name);
            }
            return wants_other;
        };
        if let Some(late_at) = &mut ask.late_at {
            let copies = u32::try_from(ask.at.len()).unwrap_or(u32::MAX);
            *late_at = now + self.patience.late_after() * (copies + 1);
        }
        if is_late && !self.patience.spend() {
            return false;
        }
        ask.was_late |= is_under_way;
        self.send(name, node, now);
        false
    }

    fn send(&mut self, name: u64, node: PeerId, now: Duration) {
        let Some(ask) = self.asks.open.get(&name) else { return };
        let Some(request) = ask.to_request(now) else { return };
        let id = self.connector.swarm.behaviour_mut().rpc.ask(node, request);
        self.asks.sent(id, name, node, now);
        self.nodes.asked(&node, now);
    }

    /// Whether there is a node that a request was not brought to, and that may be connected.
    fn can_reach_other(&self, name: u64, now: Duration) -> bool {
        self.asks.open.get(&name).is_some_and(|ask| {
            self.connector.candidates.any(|peer| {
                !ask.asked.contains(peer)
                    && !self.nodes.contains(peer)
                    && !self.connector.has_failed(peer, SPARE_REDIAL_PAUSE, now)
            })
        })
    }

    /// Connects to one more node if there are too few; when to look again, if it cannot be now.
    fn connect_more(&mut self, wants_other: bool, now: Duration) -> Option<Duration> {
        let usable = self.nodes.usable(now);
        let wanted = if self.wants_spare { 2 } else { 1 };
        if usable >= wanted && !wants_other {
            return None;
        }
        if !self.connector.is_paced(now) {
            return Some(now + DIAL_PACE);
        }
        let is_lost = usable == 0;
        let pause = if is_lost { REDIAL_PAUSE } else { SPARE_REDIAL_PAUSE };
        if is_lost && self.refresh_at <= now {
            self.refresh_at = now + REDIAL_PAUSE;
            self.connector.candidates.refresh();
        }
        let nodes = &self.nodes;
        match self.connector.next_candidate(|peer| !nodes.contains(peer), pause, now) {
            Next::Now(candidate) => {
                self.connector.dial(candidate, now);
                Some(now + DIAL_PACE)
            }
            Next::Never if !is_lost => None,
            // A node may be started, here or on the LAN.
            next @ (Next::Later | Next::Never) => {
                if is_lost {
                    self.connector.search_lan();
                }
                let may_come = !self.connector.candidates.are_exhausted();
                (may_come || matches!(next, Next::Later)).then_some(now + pause)
            }
        }
    }

    /// Asks the node for other nodes.
    fn acquaint(&mut self, now: Duration) {
        self.acquaint_at = now + self.acquaint_pause;
        self.acquaint_pause = (self.acquaint_pause * 2).min(ACQUAINT_INTERVAL);
        if let Some(node) = self.nodes.speaking_main(now) {
            let rpc = &mut self.connector.swarm.behaviour_mut().rpc;
            if let Some(unanswered) = self.acquainting.take() {
                rpc.give_up(unanswered);
            }
            self.acquainting = Some(rpc.ask(node, Request::Client(ClientRequest::Peers)));
        }
        self.wants_spare = true;
    }

    /// A node says which others there are.
    fn acquainted(&mut self, peers: Vec<Peer>) {
        self.acquainting = None;
        self.acquaint_pause = ACQUAINT_RETRY;
        let candidates = &mut self.connector.candidates;
        candidates.learn(peers, self.turn);
        if candidates.len() > 1 {
            self.acquaint_at = self.connector.now() + ACQUAINT_INTERVAL;
        }
    }

    /// A node is connected.
    fn gain(&mut self, node: PeerId, connection: ConnectionId) {
        tracing::debug!(%node, "a node is connected");
        let now = self.connector.now();
        if self.nodes.speaking_main(now).is_none() {
            self.acquaint_at = self.acquaint_at.min(now + ACQUAINT_AFTER);
            self.acquaint_pause = ACQUAINT_RETRY;
        }
        if let Some(surplus) = self.nodes.add(node, connection, now) {
            self.lose(surplus, format!("{surplus}: it did not answer in time"));
        }
    }

    /// A node is lost, or given up. What it has not answered goes to another one.
    fn lose(&mut self, node: PeerId, cause: String) {
        self.doubted.remove(&node);
        let Some(since) = self.nodes.remove(&node) else { return };
        tracing::debug!(%node, cause, "a node is lost");
        self.connector.swarm.behaviour_mut().rpc.part_with(node);
        // It fails if the connection is closed already.
        let _ = self.connector.swarm.disconnect_peer_id(node);
        for id in self.asks.lost(&node) {
            if let Some(exchange) = self.asks.ended(id) {
                self.asks.broke(exchange, &cause);
            }
        }
        // A connection that held is made again at once; one that breaks at once is not.
        let now = self.connector.now();
        let at = if now > since + REDIAL_PAUSE { now.saturating_sub(REDIAL_PAUSE) } else { now };
        self.connector.note_failure(node, at, vec![cause]);
        self.acquaint_at = self.acquaint_at.min(now + ACQUAINT_AFTER);
    }

    /// A node turns out to be of another network or version, or no node.
    fn shun(&mut self, node: PeerId, cause: &str) {
        self.connector.candidates.remove(&node);
        self.lose(node, format!("{node}: {cause}"));
    }
}

/// What is known of a node that does not speak the protocol, as long as it has not said what it is.
const FOREIGN: &str = "it is a node of another network or of another version, or not a node";
