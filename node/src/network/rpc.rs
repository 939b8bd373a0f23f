//! Requests and responses, over streams that are kept open.
//!
//! libp2p-request-response has a substream for each exchange. Opening and closing it are frames of
//! their own, each encrypted, written and woken up for. That costs more than the rest of an
//! exchange of a few hundred bytes. Here an asker opens two streams on a connection when it first
//! needs them, and sends one request after the other. The answers come back on the same stream, in
//! any order. There are two, so that pages of a megabyte do not delay receipts.
//!
//! Requests of one [`Lane`] to one node arrive in the order in which they were sent, while the
//! connection holds.
//!
//! Encoding and decoding, and so the verification of every batch, run on the task of the
//! connection, not on the loop of the swarm. A behaviour has no clock: the asker gives up what
//! takes too long ([`Behaviour::give_up`]).

mod answering;
mod asking;
mod frame;
mod handler;
mod mail;
mod pace;
mod said;
mod stall;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    task::{Context, Poll},
};

pub(super) use answering::too_much_unread;
use antiphon::wire::{ClientRequest, NodeRequest, Page, Request, Response, WireError};
use handler::Handler;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour,
        NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use mail::Mail;
use said::{Said, Told};
use thiserror::Error;

use super::{
    budget::Budget,
    limits::{
        ANSWERS_BYTES_MAX, ANSWERS_BYTES_PER_PEER_MAX, FRAMES_BYTES_MAX, FRAMES_BYTES_PER_PEER_MAX,
    },
};

/// Requests that this node, or a client, has under way at one peer. An answered page of each may
/// wait in memory there.
pub(in crate::network) const ASKS_PER_PEER_MAX: usize = 128;

/// Names a request of this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestId(u64);

#[cfg(test)]
impl RequestId {
    pub(super) fn sample(number: u64) -> Self {
        Self(number)
    }
}

/// Where the answer to a request of the other side goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReplyTo {
    connection: ConnectionId,
    peer: PeerId,
    /// The stream, of those that the other side opened on the connection.
    stream: u64,
    /// The number that the other side gave the request.
    number: u64,
}

impl ReplyTo {
    pub(super) fn peer(&self) -> PeerId {
        self.peer
    }

    #[cfg(test)]
    pub(super) fn sample(peer: PeerId, number: u64) -> Self {
        Self { connection: ConnectionId::new_unchecked(1), peer, stream: 0, number }
    }
}

/// A request as it came in. What is not understood is handed up as such, so that it can be
/// refused in words instead of by a broken stream.
pub(super) type Received = Result<Request, WireError>;

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// The other side asks.
    Asked(ReplyTo, Received),
    /// The other side no longer waits for the answer.
    Abandoned(ReplyTo),
    /// The other side answers.
    Answered(PeerId, RequestId, Response),
    /// There will be no answer.
    Failed(PeerId, RequestId, AskError),
    /// The other side did something for which a stream of it was cut off.
    Misbehaved(PeerId, Misdeed),
}

/// Something that a peer of this protocol does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misdeed {
    /// It sends what is no request.
    Garbage,
    /// It sends a part of a frame, and not the rest.
    HalfFrame,
    /// It asks, and does not read the answers.
    Unread,
    /// It follows more topics than any other, and all together follow too many.
    Follows,
    /// It kept room that others needed, and did not get on. A slow link does that as well.
    Recalled,
}

/// The room that this node has for what peers make it keep.
#[derive(Clone)]
pub(super) struct Rooms {
    /// For frames that have begun.
    frames: Budget,
    /// For answers that are not read.
    answers: Budget,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            frames: Budget::new(FRAMES_BYTES_MAX, FRAMES_BYTES_PER_PEER_MAX),
            answers: Budget::new(ANSWERS_BYTES_MAX, ANSWERS_BYTES_PER_PEER_MAX),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum AskError {
    /// There is no connection to the peer, or there is none any more.
    #[error("the connection is closed")]
    Closed,
    /// The peer does not speak this protocol.
    #[error("the peer does not speak the protocol of this network")]
    Unsupported,
    /// The stream broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// The request is too large; it was not sent.
    #[error("the request is too large: {0}")]
    TooLarge(WireError),
    /// The answer is not understood.
    #[error("the answer is not understood: {0}")]
    Malformed(WireError),
}

/// Which of the two streams a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// What is answered in a few bytes, or at once.
    Brief,
    /// What is answered in pages, or brings pages that may wait.
    Bulk,
}

impl Lane {
    const ALL: [Self; 2] = [Self::Brief, Self::Bulk];

    fn of(request: &Request) -> Self {
        match request {
            Request::Client(
                ClientRequest::Read(_)
                | ClientRequest::ReadMany(_)
                | ClientRequest::Verify(..)
                | ClientRequest::Import(_),
            )
            | Request::Node(NodeRequest::Fetch(..)) => Self::Bulk,
            _ => Self::Brief,
        }
    }
}

/// Whether the answer may be a page of records.
pub(super) fn is_answered_in_pages(request: &Request) -> bool {
    matches!(
        request,
        Request::Client(ClientRequest::Read(_) | ClientRequest::ReadMany(_))
            | Request::Node(NodeRequest::Fetch(..))
    )
}

/// Bytes of the batches in an answer.
fn bytes_of_pages(response: &Response) -> usize {
    let bytes = |page: &Page| page.batches.iter().map(|batch| batch.bytes().len()).sum::<usize>();
    match response {
        Response::Page(page) => bytes(page),
        Response::Pages(pages) => pages.iter().map(|of| bytes(&of.page)).sum(),
        _ => 0,
    }
}

/// A connection, and the beat at which it last showed that the other end is there.
#[derive(Debug, Clone, Copy)]
struct Connection {
    id: ConnectionId,
    heard: u64,
}

/// Beats by which a connection may be silent for longer than another one of the same peer and
/// still be used. It would have answered two pings meanwhile.
const SILENT_BEATS: u64 = 5;

/// Requests and responses with all connected peers.
pub(super) struct Behaviour {
    protocol: StreamProtocol,
    /// Whether it answers; a client only asks.
    answers: bool,
    rooms: Rooms,
    next: u64,
    /// The connections of each peer, the oldest first.
    connections: BTreeMap<PeerId, Vec<Connection>>,
    /// The latest beat that was told.
    beat: u64,
    /// The requests of this side that are under way.
    asked: BTreeMap<RequestId, (PeerId, ConnectionId)>,
    /// The requests of the other sides that are not answered yet. Bounded for each connection by
    /// [`answering::QUESTIONS_PER_STREAM_MAX`].
    questions: BTreeMap<ConnectionId, BTreeSet<ReplyTo>>,
    events: VecDeque<Event>,
    mail: Mail,
}

impl Behaviour {
    pub(super) fn new(protocol: StreamProtocol, answers: bool) -> Self {
        Self {
            protocol,
            answers,
            rooms: Rooms::default(),
            next: 0,
            connections: BTreeMap::new(),
            beat: 0,
            asked: BTreeMap::new(),
            questions: BTreeMap::new(),
            events: VecDeque::new(),
            mail: Mail::default(),
        }
    }

    /// Sends a request to a connected peer. [`Event::Answered`] or [`Event::Failed`] follows,
    /// unless it is given up before. How many are under way is the caller's care.
    pub(super) fn ask(&mut self, peer: PeerId, request: Request) -> RequestId {
        let id = RequestId(self.next);
        self.next += 1;
        match self.connection_to(&peer) {
            Some(connection) => {
                self.asked.insert(id, (peer, connection));
                self.notify(peer, connection, Told::Ask(id, request));
            }
            None => self.tell(Event::Failed(peer, id, AskError::Closed)),
        }
        id
    }

    /// The oldest connection to a peer that is not silent while another one is not: always the
    /// same as long as it lives, so that requests stay in their order.
    fn connection_to(&self, peer: &PeerId) -> Option<ConnectionId> {
        let connections = self.connections.get(peer)?;
        let latest = connections.iter().map(|connection| connection.heard).max()?;
        let mut live = connections.iter().filter(|one| one.heard + SILENT_BEATS >= latest);
        live.next().map(|connection| connection.id)
    }

    /// The other end of a connection has shown at this beat that it is there.
    pub(super) fn heard(&mut self, peer: &PeerId, connection: ConnectionId, beat: u64) {
        self.beat = beat;
        let connections = self.connections.get_mut(peer).into_iter().flatten();
        for one in connections.filter(|one| one.id == connection) {
            one.heard = beat;
        }
    }

    /// Stops waiting for an answer. Everything else under way on the same stream fails, because the
    /// stream is given up with it. So the other side learns that nobody waits any more, and nothing
    /// stays queued for a peer that is stuck.
    pub(super) fn give_up(&mut self, id: RequestId) {
        if let Some((peer, connection)) = self.asked.remove(&id) {
            self.notify(peer, connection, Told::GiveUp(id));
        }
    }

    /// A peer is gone for its asker, or is being disconnected, though its connections may take
    /// minutes to close. Nothing is sent over them any more. A new connection is used.
    pub(super) fn part_with(&mut self, peer: PeerId) {
        for connection in self.connections.remove(&peer).into_iter().flatten() {
            self.closed(connection.id, peer);
        }
    }

    /// Answers a request. If the asker is gone, nothing happens. A page that there is no room for
    /// becomes a refusal before it waits anywhere.
    pub(super) fn answer(&mut self, to: ReplyTo, response: Response) {
        let open = self.questions.get_mut(&to.connection);
        if !open.is_some_and(|open| open.remove(&to)) {
            return;
        }
        let lent = match bytes_of_pages(&response) {
            0 => Ok(None),
            bytes => self.rooms.answers.lend(to.peer, bytes),
        };
        let (response, loan) = match lent {
            Ok(loan) => (response, loan.map(Box::new)),
            Err(_) => (Response::Refused(too_much_unread()), None),
        };
        let (stream, number) = (to.stream, to.number);
        self.notify(to.peer, to.connection, Told::Answer { stream, number, response, loan });
    }

    /// Whether a peer has read enough of its answers that a page may be read for it.
    pub(super) fn has_room_for_page(&self, peer: &PeerId) -> bool {
        self.rooms.answers.share_of(peer) <= ANSWERS_BYTES_PER_PEER_MAX / 2
    }

    fn notify(&mut self, peer: PeerId, connection: ConnectionId, told: Told) {
        self.mail.push(peer, connection, told);
    }

    fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    fn handler(&mut self, connection: ConnectionId, peer: PeerId) -> Handler {
        let fresh = Connection { id: connection, heard: self.beat };
        self.connections.entry(peer).or_default().push(fresh);
        Handler::new(self.protocol.clone(), self.answers, peer, self.rooms.clone())
    }

    fn closed(&mut self, connection: ConnectionId, peer: PeerId) {
        self.mail.forget(connection);
        if let Some(connections) = self.connections.get_mut(&peer) {
            connections.retain(|other| other.id != connection);
            if connections.is_empty() {
                self.connections.remove(&peer);
            }
        }
        let lost = self.asked.extract_if(.., |_, (_, at)| *at == connection);
        for (id, (peer, _)) in lost.collect::<Vec<_>>() {
            self.tell(Event::Failed(peer, id, AskError::Closed));
        }
        for question in self.questions.remove(&connection).into_iter().flatten() {
            self.tell(Event::Abandoned(question));
        }
    }

    fn abandoned(&mut self, connection: ConnectionId, stream: u64) {
        let Some(open) = self.questions.get_mut(&connection) else { return };
        let abandoned = open.extract_if(.., |question| question.stream == stream);
        for question in abandoned.collect::<Vec<_>>() {
            self.tell(Event::Abandoned(question));
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection, peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection, peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.closed(connection_id, peer_id);
            }
            // Another behaviour denied a connection that this one had a handler for.
            FromSwarm::DialFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.closed(failure.connection_id, peer);
                }
            }
            FromSwarm::ListenFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.closed(failure.connection_id, peer);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Said::Asked { stream, number, request, loan } => {
                // It is this node's own from now on.
                drop(loan);
                let question = ReplyTo { connection, peer, stream, number };
                // A number that is used twice at a time would have two answers; the asker is to
                // blame, and gets one.
                if self.questions.entry(connection).or_default().insert(question) {
                    self.tell(Event::Asked(question, request));
                }
            }
            Said::Abandoned { stream, misdeed } => {
                self.abandoned(connection, stream);
                if let Some(misdeed) = misdeed {
                    self.tell(Event::Misbehaved(peer, misdeed));
                }
            }
            Said::Answered(id, response, loan) => {
                drop(loan);
                if self.asked.remove(&id).is_some() {
                    self.tell(Event::Answered(peer, id, response));
                }
            }
            Said::Failed(id, error) => {
                if self.asked.remove(&id).is_some() {
                    self.tell(Event::Failed(peer, id, error));
                }
            }
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        // The swarm polls again after everything that could fill these queues.
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        self.mail.next().map_or(Poll::Pending, |(peer_id, connection, event)| {
            let handler = NotifyHandler::One(connection);
            Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event })
        })
    }
}
