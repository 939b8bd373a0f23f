//! What libp2p reports, in the engine's words.

use std::{collections::BTreeMap, time::Duration};

use antiphon::{
    engine::{Asker, Failure, Input, QuestionId},
    wire::{ClientRequest, Contact, Read, ReadMany, Refusal, Request, Response, WireError},
};
use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    identify, mdns, ping,
    swarm::{ConnectionId, DialError, SwarmEvent},
};

use super::{
    BEAT, Network,
    behaviour::{BehaviourEvent, EXCHANGE_TIMEOUT, LAN_QUERY_INTERVAL, mdns},
    exchanges::Settled,
    limits::{LAN_FOUND_MAX, LARGE_PAGES_PER_CLIENT_MAX, SMALL_PAGE_BYTES},
    peers::News,
    rpc::{self, AskError, Misdeed, Received, ReplyTo, RequestId},
    runtime_directory::Found,
    source::Source,
    translate::{dial_failures, ip_of, leads_there, node_of, wire_addresses},
    unproven,
};

/// Time after which an exchange is given up.
const EXCHANGE_BEATS: u64 = beats(EXCHANGE_TIMEOUT);

/// Unanswered pings after which a peer that is no node is disconnected. The engine decides about
/// nodes.
const UNANSWERED_PINGS_MAX: u32 = 3;

/// Beats between two starts of mDNS.
const LAN_BEATS: u64 = beats(Duration::from_secs(5));

pub(super) const fn beats(time: Duration) -> u64 {
    time.as_secs() * 1_000 / BEAT.subsec_millis() as u64
}

impl Network {
    pub(super) fn handle_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.handle_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.make_room_for(peer_id, connection_id, &endpoint);
                if node_of(&peer_id).is_some() {
                    let is_second = self.peers.is_connected(&peer_id);
                    self.peers.opened(peer_id, connection_id, endpoint);
                    if self.bootstrap.reached(connection_id, peer_id) && is_second {
                        // It was not known that this is the way to the same node.
                        self.swarm.close_connection(connection_id);
                    }
                } else {
                    tracing::debug!(peer = %peer_id, "a peer whose key is not ed25519 is refused");
                    self.swarm.close_connection(connection_id);
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id, connection_id, cause, num_established, ..
            } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.crowd.closed(connection_id);
                // Just as long as gossipsub itself remembers what the peer follows.
                if num_established == 0 {
                    self.followers.gone(&peer_id);
                }
                if self.peers.closed(&peer_id, connection_id) {
                    self.part_with(peer_id);
                }
                if !self.peers.is_connected(&peer_id)
                    && let Some(line) = self.bootstrap.closed(connection_id, self.beat)
                {
                    self.complain(&line);
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id, connection_id, error } => {
                tracing::debug!(peer = ?peer_id, %error, "dialling failed");
                self.attempt_failed(connection_id, &error);
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                self.tell_addresses();
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a connection was not accepted");
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "the node no longer listens here");
                self.tell_addresses();
            }
            event => tracing::trace!(?event, "nothing to do"),
        }
    }

    /// Closes the connection of the least use if a stranger has come and there are too many.
    fn make_room_for(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        if endpoint.is_dialer() {
            return;
        }
        let (peers, questions) = (&self.peers, &self.questions);
        let use_of = |peer: &PeerId| (questions.has_open(peer), peers.asked_at(peer));
        let surplus = self.crowd.opened(id, peer, Source::of_endpoint(endpoint), use_of);
        if let Some(surplus) = surplus {
            tracing::debug!(connection = %surplus, "a connection is closed: there are too many");
            self.swarm.close_connection(surplus);
        }
    }

    fn handle_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Rpc(event) => self.handle_rpc(event),
            BehaviourEvent::Gossip(event) => self.handle_gossip(event),
            BehaviourEvent::Ping(event) => self.handle_ping(event),
            BehaviourEvent::Identify(event) => self.handle_identify(event),
            BehaviourEvent::Kad(event) => self.handle_kad(event),
            BehaviourEvent::Silent(event) => match event {
                mdns::Event::Discovered(found) => self.handle_lan(found),
                // An expired record says that mDNS was silent, not that the node is.
                mdns::Event::Expired(_) => {}
            },
        }
    }

    fn handle_rpc(&mut self, event: rpc::Event) {
        match event {
            rpc::Event::Asked(reply_to, request) => {
                self.heard(&reply_to.peer());
                self.handle_request(reply_to, request);
            }
            rpc::Event::Abandoned(reply_to) => {
                self.unproven.abandoned(reply_to);
                self.ready.extend(self.questions.abandoned(reply_to).map(Input::Abandoned));
            }
            rpc::Event::Answered(peer, id, mut response) => {
                self.heard(&peer);
                if let Response::Peers(peers) = &mut response {
                    self.weigh(&peer, peers);
                }
                self.settle(id, Ok(response));
                if self.peers.answered(&peer) {
                    self.swarm.behaviour_mut().gossip.rule.let_in(peer);
                    self.take_up(&peer);
                }
            }
            rpc::Event::Failed(peer, id, error) => {
                tracing::debug!(%peer, %error, "a request got no answer");
                self.settle(id, Err(failure(&error)));
            }
            rpc::Event::Misbehaved(peer, misdeed) => self.misbehaved(peer, misdeed),
        }
    }

    fn handle_request(&mut self, reply_to: ReplyTo, request: Received) {
        let peer = reply_to.peer();
        let refusal = match request {
            Ok(request) if !self.has_room_for(&peer, &request) => rpc::too_much_unread(),
            Ok(request) if self.peers.is_unproven(&peer) && unproven::is_for_nodes(&request) => {
                match self.unproven.wait(reply_to, request, self.beat) {
                    Some(request) => return self.carry_out(reply_to, request),
                    None => return,
                }
            }
            Ok(request) => return self.carry_out(reply_to, request),
            Err(error) => {
                tracing::debug!(%peer, %error, "a request is not understood");
                // One of a newer version is no mistake.
                if !matches!(error, WireError::Unknown(_)) {
                    self.misbehaved(peer, Misdeed::Garbage);
                }
                not_understood(&error)
            }
        };
        self.swarm.behaviour_mut().rpc.answer(reply_to, Response::Refused(refusal));
    }

    /// Hands a request out, or refuses it.
    fn carry_out(&mut self, reply_to: ReplyTo, request: Request) {
        match self.admit(reply_to, &request) {
            Ok((question, asker)) => {
                let request = self.in_small_pages(&reply_to.peer(), request);
                self.ready.push_back(Input::Asked { question, asker, request });
            }
            // There are no more of them than requests under way.
            Err(refusal) => self.held_back.push(reply_to, refusal),
        }
    }

    /// Refuses what asks too much.
    pub(super) fn refuse(&mut self, refusals: Vec<(ReplyTo, Refusal)>) {
        for (reply_to, refusal) in refusals {
            self.swarm.behaviour_mut().rpc.answer(reply_to, Response::Refused(refusal));
        }
    }

    /// What has waited until a peer answered waits no longer.
    fn take_up(&mut self, peer: &PeerId) {
        for (reply_to, request) in self.unproven.take(peer) {
            self.carry_out(reply_to, request);
        }
    }

    /// Registers a request, within what its asker may have under way and spend.
    fn admit(
        &mut self,
        reply_to: ReplyTo,
        request: &Request,
    ) -> Result<(QuestionId, Asker), Refusal> {
        let peer = reply_to.peer();
        self.peers.spend(&peer, request, self.beat)?;
        let asker = self.peers.asker(&peer);
        let question = self.questions.open(reply_to, asker, request)?;
        Ok((question, asker))
    }

    /// The request, with small pages for a client that has asked for many at a time.
    fn in_small_pages(&self, peer: &PeerId, mut request: Request) -> Request {
        if let Request::Client(request) = &mut request
            && let ClientRequest::Read(Read { bytes_max, .. })
            | ClientRequest::ReadMany(ReadMany { bytes_max, .. }) = request
            && self.questions.of_client(peer) > LARGE_PAGES_PER_CLIENT_MAX
        {
            *bytes_max = (*bytes_max).min(SMALL_PAGE_BYTES);
        }
        request
    }

    /// Whether a request may be carried out as far as its answer is concerned: a page is not read
    /// from the disk before there is room to send it.
    fn has_room_for(&mut self, peer: &PeerId, request: &Request) -> bool {
        !rpc::is_answered_in_pages(request)
            || self.swarm.behaviour_mut().rpc.has_room_for_page(peer)
    }

    /// An exchange that this node began has ended.
    fn settle(&mut self, request: RequestId, result: Result<Response, Failure>) {
        let Some(Settled { ask, to, next }) = self.asks.settled(request) else {
            return;
        };
        self.tell(ask, result);
        if let Some((ask, request)) = next {
            self.send(ask, to, request);
        }
    }

    fn handle_ping(&mut self, event: ping::Event) {
        let Some(peer) = self.peers.get_mut(&event.peer) else {
            return;
        };
        match event.result {
            Ok(round_trip) => {
                peer.unanswered = 0;
                let rpc = &mut self.swarm.behaviour_mut().rpc;
                rpc.heard(&event.peer, event.connection, self.beat);
                if let Some(node) = self.peers.node(&event.peer) {
                    self.ready.push_back(Input::Heard(node, Some(round_trip)));
                }
            }
            Err(error) => {
                peer.unanswered += 1;
                let unanswered = peer.unanswered;
                tracing::debug!(peer = %event.peer, %error, unanswered, "a ping got no answer");
                let is_node = self.peers.node(&event.peer).is_some();
                if !is_node && unanswered >= UNANSWERED_PINGS_MAX {
                    self.part_with(event.peer);
                    let _ = self.swarm.disconnect_peer_id(event.peer);
                }
            }
        }
    }

    fn handle_identify(&mut self, event: identify::Event) {
        let (peer, info) = match event {
            identify::Event::Received { peer_id, connection_id, info }
                if self.peers.has(&peer_id, connection_id) =>
            {
                (peer_id, info)
            }
            identify::Event::Error { peer_id, error, .. } => {
                tracing::debug!(peer = %peer_id, %error, "a peer does not say what it is");
                return;
            }
            _ => return,
        };
        if let Some(stranger) = self.protocols.stranger(&info.protocol_version) {
            tracing::debug!(%peer, %stranger, "a peer that does not belong here");
            return self.shun(peer, &stranger);
        }
        // In a closed network the roster says who is a node.
        let may_be_node = self.judge.as_ref().is_none_or(|judge| judge.is_node(&peer));
        if !may_be_node || !info.protocols.contains(&self.protocols.kad) {
            return self.peers.identified_client(&peer);
        }
        self.identified_node(peer, info.listen_addrs);
    }

    /// A peer says that it is a node, and where it listens.
    fn identified_node(&mut self, peer: PeerId, listening: Vec<Multiaddr>) {
        if self.peers.node(&peer).is_none() && !self.joins.admit(self.peers.came_from(&peer)) {
            self.peers.identified_client(&peer);
            return self.joins.wait(peer, listening);
        }
        match self.peers.identified_node(&peer, &listening, self.beat) {
            News::Node(contact) => {
                tracing::debug!(%peer, addresses = ?contact.addresses, "a node is connected");
                self.has_joined = true;
                if let Some(line) = self.bootstrap.joined(&peer) {
                    tracing::info!("{line}");
                }
                self.enter_in_table(peer, &contact);
                self.ready.push_back(Input::Connected(contact));
            }
            News::Moved(contact) => {
                self.leave_table(&peer);
                self.enter_in_table(peer, &contact);
                self.ready.push_back(Input::Moved(contact));
            }
            News::Nothing => {}
        }
    }

    fn handle_lan(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        let mut nodes: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
        // Any machine on the cable may announce a name, and a name would have to be looked up.
        let leads_there = |address: &Multiaddr| ip_of(address).is_some() && leads_there(address);
        for (peer, address) in found.into_iter().filter(|(_, address)| leads_there(address)) {
            nodes.entry(peer).or_default().push(address);
        }
        for (peer, addresses) in nodes {
            self.discovered(peer, &addresses);
        }
    }

    /// mDNS keeps all that it hears. With too much it is started again.
    fn bound_lan(&mut self) {
        let local = *self.swarm.local_peer_id();
        let lan = &mut self.swarm.behaviour_mut().silent.lan;
        let is_full = lan.iter().any(|lan| lan.discovered_nodes().len() > LAN_FOUND_MAX);
        if is_full && self.lan_since + LAN_BEATS <= self.beat {
            self.lan_since = self.beat;
            *lan = mdns(LAN_QUERY_INTERVAL, local);
            tracing::warn!("mDNS is started again: somebody on the LAN announces too many nodes");
        }
    }

    pub(super) fn handle_found(&mut self, found: &Found) {
        self.discovered(found.peer, &found.addresses);
    }

    /// A node may exist. It is reported, unless more is known about it.
    pub(super) fn discovered<'a>(
        &mut self,
        peer: PeerId,
        addresses: impl IntoIterator<Item = &'a Multiaddr>,
    ) {
        let known = self.peers.is_connected(&peer)
            || self.shunned.contains(&peer)
            || peer == *self.swarm.local_peer_id();
        if let (false, Some(node)) = (known, node_of(&peer)) {
            let addresses = wire_addresses(addresses);
            self.ready.push_back(Input::Discovered(Contact::new(node, addresses)));
        }
    }

    pub(super) fn handle_beat(&mut self) {
        self.beat += 1;
        for node in self.peers.beat(self.beat) {
            self.crowd.knows(&node);
            if !self.peers.is_unproven(&node) {
                self.swarm.behaviour_mut().gossip.rule.let_in(node);
            }
        }
        let mut waiting = self.joins.beat();
        // Nodes that mean to join ask something; so those that do come first.
        waiting.sort_by_key(|(peer, _)| self.peers.asked_at(peer).is_none());
        for (peer, listening) in waiting {
            if self.peers.is_connected(&peer) {
                self.identified_node(peer, listening);
            }
        }
        self.tend_shunned();
        for peer in self.unproven.overdue(self.beat) {
            self.take_up(&peer);
        }
        self.score();
        self.bound_lan();
        self.held_back.beat();
        let is_connected = |peer: &PeerId| self.peers.is_connected(peer);
        for attempt in self.bootstrap.due(self.beat, is_connected) {
            self.attempt(attempt);
        }
        self.say_addresses();
        for request in self.asks.begun_before(self.beat.saturating_sub(EXCHANGE_BEATS)) {
            self.swarm.behaviour_mut().rpc.give_up(request);
            self.settle(request, Err(Failure::TimedOut));
        }
    }

    /// An attempt to join failed, if this was one.
    pub(super) fn attempt_failed(&mut self, connection: ConnectionId, error: &DialError) {
        let failures = match error {
            // It says nothing of the other end: it was given up here, or is dialled anyway.
            DialError::Aborted | DialError::DialPeerConditionFalse(_) => Vec::new(),
            error => dial_failures(error),
        };
        let Some(line) = self.bootstrap.failed(connection, self.beat, &failures) else {
            return;
        };
        self.complain(&line);
    }

    /// Reports why a node cannot be joined through. If others are connected, that is no warning.
    fn complain(&self, line: &str) {
        if self.peers.nodes() == 0 {
            tracing::warn!("{line}");
        } else {
            tracing::info!("{line}");
        }
    }

    /// A peer is gone, or is being disconnected. Everything of it is ended.
    pub(super) fn part_with(&mut self, peer: PeerId) {
        self.unproven.take(&peer);
        let abandoned = self.questions.abandoned_by(&peer);
        self.ready.extend(abandoned.into_iter().map(Input::Abandoned));
        self.swarm.behaviour_mut().rpc.part_with(peer);
        if let Some(node) = self.peers.remove(&peer) {
            for ask in self.asks.lost(node) {
                self.tell(ask, Err(Failure::Unreachable));
            }
            self.leave_table(&peer);
            self.ready.push_back(Input::Disconnected(node));
        }
    }

    pub(super) fn heard(&mut self, peer: &PeerId) {
        if let Some(node) = self.peers.heard(peer) {
            self.ready.push_back(Input::Heard(node, None));
        }
    }
}

/// The answer to a request that is not understood. One that this version does not know is no
/// mistake of the asker.
fn not_understood(error: &WireError) -> Refusal {
    match error {
        WireError::Unknown(_) => Refusal::Unsupported(None),
        WireError::Malformed(_) | WireError::TooLarge(_) => Refusal::Invalid(error.to_string()),
    }
}

/// Why there was no answer, in the engine's words. A peer that drops the stream counts as
/// unreachable.
fn failure(error: &AskError) -> Failure {
    match error {
        AskError::Malformed(_) | AskError::TooLarge(_) => Failure::Malformed,
        AskError::Broken(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Failure::Malformed
        }
        AskError::Broken(_) | AskError::Closed | AskError::Unsupported => Failure::Unreachable,
    }
}
