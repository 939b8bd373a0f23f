//! The network: messages take time, and are lost, held up, or cut off, one way or both.

use std::{collections::BTreeSet, time::Duration};

use antiphon::{
    engine,
    engine::{AskId, Failure, Input},
    limits::HEARTBEAT_INTERVAL,
    model::{Batch, NodeId},
    wire::{Contact, Gossip, NodeRequest, Request},
};

use crate::world::{
    Event, Message, What, World,
    invariants::bounds,
    node::{Asker, Connection},
};

/// The state of the links.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Ways that nothing passes.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// What a transport tries to send again and again, until the way is open.
    pub(crate) stuck: Vec<Message>,
}

impl World {
    /// Sends a message. It may get lost.
    pub(crate) fn send(&mut self, from: (usize, u64), to: (usize, u64), what: What) {
        let Some(what) = self.said(from.0, to.0, what) else { return };
        let what = self.deceives(from.0, what);
        let lost = match what {
            What::Gossip(_) => self.options.gossip_loss,
            _ => self.options.loss,
        };
        let message = Message { from, to, what };
        if self.faulty && self.choices.chance(lost) {
            self.trace.note(self.now, || format!("lost: {message:?}"));
            return;
        }
        if self.links.cut.contains(&(from.0, to.0)) {
            if self.choices.chance(250) && self.links.stuck.len() < 1_000 {
                self.links.stuck.push(message);
            }
            return;
        }
        if self.faulty && matches!(message.what, What::Request(..) | What::Gossip(_)) {
            // A request that is sent twice is asked twice; a second answer has no asker.
            if self.choices.chance(self.options.duplicates) {
                let delay = self.delay();
                self.event(delay, Event::Message(message.clone()));
            }
        }
        let delay = self.delay();
        self.event(delay, Event::Message(message));
    }

    fn delay(&mut self) -> Duration {
        let mut delay = self.options.latency;
        if self.faulty {
            delay += self.choices.time(Duration::ZERO, self.options.jitter);
            if self.choices.chance(self.options.delays) {
                delay += self.choices.time(Duration::ZERO, Duration::from_secs(6));
            }
        } else {
            delay += self.choices.time(Duration::ZERO, self.options.latency);
        }
        delay
    }

    /// Opens all ways; what was stuck arrives.
    pub(crate) fn heal_links(&mut self) {
        self.links.cut.clear();
        for message in std::mem::take(&mut self.links.stuck) {
            let delay = self.delay();
            self.event(delay, Event::Message(message));
        }
    }

    /// A node asks another one.
    pub(crate) fn ask(&mut self, index: usize, ask: AskId, to: &NodeId, request: Request) {
        self.trace.mix(&[ask.0, 17]);
        self.check(bounds::NAME, bounds::request(&request, ask.0));
        let is_repair = matches!(
            request,
            Request::Node(
                NodeRequest::Replicate(_)
                    | NodeRequest::Frontier(..)
                    | NodeRequest::Fetch(..)
                    | NodeRequest::Positions(..)
                    | NodeRequest::Keep(..)
            )
        );
        self.repairs += u64::from(is_repair && !self.is_unproven);
        let from = (index, self.nodes[index].life);
        let to = self.index(to);
        let life = to.and_then(|to| Some(self.nodes[index].connected.get(&to)?.life));
        if let (Some(to), Some(life)) = (to, life) {
            self.send(from, (to, life), What::Request(ask, request));
        } else {
            let result = Err(Failure::Unreachable);
            self.input(index, Duration::from_micros(50), Input::Told { ask, result });
        }
    }

    /// As the node does it: the mesh is not used where all who follow are sent the batch anyway.
    pub(crate) fn gossip(&mut self, index: usize, batch: &Batch, sent_to: &[NodeId]) {
        let topic = batch.header().topic;
        let from = (index, self.nodes[index].life);
        let followers = self.nodes[index].connected.clone().into_iter();
        let followers: Vec<_> =
            followers.filter(|(other, _)| self.nodes[*other].following.contains(&topic)).collect();
        if followers.iter().any(|(other, _)| !sent_to.contains(&self.nodes[*other].id)) {
            for (other, connection) in followers {
                self.send(from, (other, connection.life), What::Gossip(batch.clone()));
            }
        }
    }

    pub(crate) fn dial(&mut self, index: usize, contact: &Contact) {
        let from = (index, self.nodes[index].life);
        if let Some(other) = self.index(&contact.node)
            && other != index
            && !self.links.cut.contains(&(other, index))
        {
            self.send(from, (other, 0), What::Dial);
        }
    }

    /// A node closes its connection to another one.
    pub(crate) fn disconnect(&mut self, index: usize, node: &NodeId) {
        let Some(other) = self.index(node) else {
            return;
        };
        if let Some(connection) = self.nodes[index].connected.remove(&other) {
            let from = (index, self.nodes[index].life);
            let close = What::Close(connection.number);
            self.send(from, (other, connection.life), close);
            self.input(index, Duration::ZERO, Input::Disconnected(*node));
        }
    }

    /// The transport's ping, to all who are connected.
    pub(crate) fn heartbeat(&mut self, index: usize) {
        let life = self.nodes[index].life;
        for (other, connection) in self.nodes[index].connected.clone() {
            self.send((index, life), (other, connection.life), What::Ping(self.now));
        }
        self.event(HEARTBEAT_INTERVAL, Event::Heartbeat(index, life));
    }

    /// A message reaches the node that it was sent to.
    pub(crate) fn arrived(&mut self, message: Message) {
        let Some(message) = self.heard(message) else { return };
        if self.is_reset(&message) {
            return;
        }
        let Message { from, to: (index, life), what } = message;
        match what {
            What::Request(ask, request) => {
                self.asked += 1;
                let question = self.question(index, Asker::Node(from.0, from.1, ask));
                let asker = engine::Asker::Node(self.nodes[from.0].id);
                self.handle(index, Input::Asked { question, asker, request });
            }
            What::Response(ask, result) => self.handle(index, Input::Told { ask, result }),
            What::Gossip(batch) => {
                self.handle(index, Input::Gossiped(Gossip::Batch(batch)));
            }
            What::Ping(at) => self.send((index, life), from, What::Pong(at)),
            What::Pong(at) => {
                let id = self.nodes[from.0].id;
                let time = self.now.saturating_sub(at);
                self.handle(index, Input::Heard(id, Some(time)));
            }
            What::Dial => self.connect(from, index),
            What::Close(number) => self.closed(index, from.0, number),
        }
    }

    /// In a closed network a connection that the other end has closed is of no use: who sends
    /// something there is told so.
    fn is_reset(&mut self, message: &Message) -> bool {
        let ((from, life), (index, _)) = (message.from, message.to);
        let is_closed = matches!(message.what, What::Dial | What::Close(_));
        let is_connected = self.nodes[index].connected.contains_key(&from);
        if self.closed.is_none() || is_closed || is_connected || self.nodes[from].life != life {
            return self.closed.is_some() && !is_closed && !is_connected;
        }
        self.undelivered(message);
        true
    }

    /// A connection of which this is the other end is closed.
    fn closed(&mut self, index: usize, from: usize, number: u64) {
        let connection = self.nodes[index].connected.get(&from);
        if connection.is_some_and(|connection| connection.number == number) {
            self.nodes[index].connected.remove(&from);
            let id = self.nodes[from].id;
            self.handle(index, Input::Disconnected(id));
        }
    }

    fn connect(&mut self, from: (usize, u64), index: usize) {
        let dialler = from.0;
        let alive = self.nodes[dialler].life == from.1 && self.nodes[dialler].engine.is_some();
        let ways = [(dialler, index), (index, dialler)];
        if !alive || ways.iter().any(|way| self.links.cut.contains(way)) {
            return;
        }
        if !self.shake_hands(dialler, index) {
            return;
        }
        let number = self.number();
        for (one, other) in ways {
            let life = self.nodes[other].life;
            let connection = Connection { life, number, since: self.now };
            let before = self.nodes[one].connected.insert(other, connection);
            let contact = self.contact(other);
            let id = self.nodes[other].id;
            match before {
                None => self.input(one, Duration::ZERO, Input::Connected(contact)),
                // To the swarm it is one connection more, until it notices that the first is
                // dead; or it notices at once.
                Some(before) if before.life != life && self.choices.chance(500) => {
                    self.input(one, Duration::ZERO, Input::Disconnected(id));
                    self.input(one, Duration::ZERO, Input::Connected(contact));
                }
                Some(_) => {}
            }
        }
    }

    /// A message came to a node that is down, or was started again since: the connection is
    /// reset where somebody is there to say so.
    pub(crate) fn undelivered(&mut self, message: &Message) {
        let ((from, life), to) = (message.from, message.to.0);
        let lives = self.nodes[from].life == life && self.nodes[from].engine.is_some();
        if !lives || self.nodes[to].engine.is_none() || matches!(message.what, What::Dial) {
            return;
        }
        let connection = self.nodes[from].connected.get(&to);
        if connection.is_some_and(|connection| connection.life == message.to.1)
            && !self.links.cut.contains(&(to, from))
        {
            self.nodes[from].connected.remove(&to);
            let id = self.nodes[to].id;
            self.input(from, Duration::ZERO, Input::Disconnected(id));
        } else if let What::Request(ask, _) = message.what {
            let result = Err(Failure::Unreachable);
            self.input(from, self.options.latency, Input::Told { ask, result });
        }
    }
}
