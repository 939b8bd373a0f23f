//! The front door: all that is asked of this node comes in here.
//!
//! One place knows who asks ([`Asker`]), what that asker may ask (`rights.rs`), what
//! this node can do now (`admit`), and which topic a name stands for. A request that names an
//! unknown topic waits until the other nodes have said whether they know it; it keeps its asker.
//! Each request then goes to the part of the engine that carries it out.

use std::collections::BTreeMap;

use super::{
    Engine, catalogue, holdings::topic::Topic, ids::QuestionId, inflight::stored::Challenged,
    input::Asker, rights,
};
use crate::{
    limits::QUESTIONS_MAX,
    model::{TopicId, TopicName},
    wire::{ClientRequest, NodeRequest, Refusal, Request, Right},
};

/// A request that waits until it is clear whether a topic exists.
#[derive(Debug)]
struct Deferred {
    question: QuestionId,
    asker: Asker,
    request: ClientRequest,
}

/// Why a topic that a request names cannot be used.
enum Unresolved {
    /// Nobody has told this node of it yet.
    Unknown(TopicName),
    /// This program does not understand its terms.
    NotUnderstood(String),
}

/// Requests that wait.
#[derive(Debug, Default)]
pub(super) struct State {
    deferred: BTreeMap<TopicName, Vec<Deferred>>,
}

impl State {
    /// Who waits until it is clear whether a topic exists.
    #[cfg(test)]
    pub(super) fn askers_waiting_for(&self, name: &TopicName) -> Vec<Asker> {
        self.deferred.get(name).into_iter().flatten().map(|deferred| deferred.asker).collect()
    }
}

impl Engine {
    /// Somebody asks this node.
    pub(super) fn asked(&mut self, question: QuestionId, asker: Asker, request: Request) {
        let asker = match asker {
            // It says that it is a node, and is none of the connected members.
            Asker::Node(node) if !self.core.members.is_connected(&node) => {
                Asker::Client(Some(node))
            }
            other => other,
        };
        if let Err(refusal) = self.check_membership(asker, &request) {
            return self.core.refuse(question, refusal);
        }
        match request {
            Request::Client(request) => self.client_asked(question, asker, request),
            Request::Node(request) => self.node_asked(question, asker, request),
        }
    }

    pub(super) fn client_asked(
        &mut self,
        question: QuestionId,
        asker: Asker,
        request: ClientRequest,
    ) {
        if let Err(refusal) = self.admit(asker, &request) {
            return self.core.refuse(question, refusal);
        }
        match request {
            // The node that passes it on has resolved the name, and sends the terms along.
            ClientRequest::Import(import) if let Some(node) = asker.node() => {
                self.import_from(question, node, &import);
            }
            request => match self.resolve(&request) {
                Ok(topics) => self.carry_out(question, asker, topics, request),
                Err(Unresolved::Unknown(name)) => {
                    self.defer(&name, Deferred { question, asker, request });
                }
                Err(Unresolved::NotUnderstood(why)) => {
                    self.core.refuse(question, Refusal::Unsupported(Some(why)));
                }
            },
        }
    }

    /// Whether the asker may ask this, and this node can do it now.
    fn admit(&mut self, asker: Asker, request: &ClientRequest) -> Result<(), Refusal> {
        if let Some(member) = self.membership_of(asker) {
            rights::check_member(asker, &member, request)?;
        } else {
            // Who waited for a topic may have been removed meanwhile.
            self.check_belongs(asker, Right::Read)?;
            rights::check(asker, request, self.core.config.open_admin)?;
        }
        if let ClientRequest::Create(create) = request {
            self.check_terms(create)?;
        }
        let stores = matches!(request, ClientRequest::Create(_) | ClientRequest::Publish(_));
        if stores && !self.core.room {
            return Err(Refusal::Full(None));
        }
        let changes = matches!(request, ClientRequest::Alter(_) | ClientRequest::Delete(_));
        if (stores || changes) && self.membership.is_leaving() {
            return Err(Refusal::Stopping("it is leaving the network".into()));
        }
        Ok(())
    }

    // --- topics ----------------------------------------------------------------------------

    /// The topics that a request is about, in its order.
    fn resolve(&self, request: &ClientRequest) -> Result<Vec<TopicId>, Unresolved> {
        let resolved = |name: &TopicName| {
            let topic = self.core.topics.named(name);
            let topic = topic.ok_or_else(|| Unresolved::Unknown(name.clone()))?;
            match self.core.topics.get(&topic).and_then(Topic::not_understood) {
                Some(why) => Err(Unresolved::NotUnderstood(why)),
                None => Ok(topic),
            }
        };
        request.topics().map(resolved).collect()
    }

    /// Asks the other nodes for a topic. The request is taken up again when they have answered.
    fn defer(&mut self, name: &TopicName, deferred: Deferred) {
        if name.is_reserved() {
            return self.refuse_unknown(deferred.question, deferred.asker, name);
        }
        let waiting = self.front.deferred.entry(name.clone()).or_default();
        if waiting.len() >= QUESTIONS_MAX {
            return self.core.refuse(deferred.question, Refusal::Busy);
        }
        waiting.push(deferred);
        self.look_up(name);
    }

    /// The other nodes have said whether they know a topic, or it has become known.
    pub(super) fn looked_up(&mut self, name: &TopicName) {
        let is_known = self.core.topics.named(name).is_some();
        for Deferred { question, asker, request } in
            self.front.deferred.remove(name).unwrap_or_default()
        {
            match request {
                ClientRequest::Create(create) if !is_known => self.create_new(question, &create),
                request if is_known => self.client_asked(question, asker, request),
                _ => self.refuse_unknown(question, asker, name),
            }
        }
    }

    fn refuse_unknown(&mut self, question: QuestionId, asker: Asker, name: &TopicName) {
        let visible = self.visible_to(asker);
        let nearest = self.core.topics.nearest_name(name, |name| visible.shows(name));
        self.core.refuse(question, Refusal::UnknownTopic { name: name.to_string(), nearest });
    }

    // --- who carries it out ----------------------------------------------------------------

    fn carry_out(
        &mut self,
        question: QuestionId,
        asker: Asker,
        topics: Vec<TopicId>,
        request: ClientRequest,
    ) {
        use ClientRequest as R;
        match (request, topics.first().copied()) {
            (R::Create(create), Some(topic)) => self.create_again(question, topic, &create),
            (R::Alter(alter), Some(topic)) => self.alter(question, topic, &alter),
            (R::Delete(_), Some(topic)) => self.delete(question, topic),
            (R::Publish(publish), Some(topic)) => self.publish(question, topic, publish),
            (R::Import(import), Some(topic)) => self.import(question, topic, import),
            (R::Survey(_), Some(topic)) => self.survey_for_client(question, topic),
            (R::Read(read), Some(topic)) => self.read(question, topic, read),
            (R::ReadMany(read), _) => self.read_many(question, topics, read),
            (R::Take(take), Some(topic)) => self.member_takes(question, asker, topic, take),
            (R::Settle(settle), Some(topic)) => self.member_settles(question, asker, topic, settle),
            (R::Await(wanted), Some(topic)) => self.await_copies(question, topic, wanted),
            (R::Position(_, name), Some(topic)) => self.position(question, topic, name),
            (R::Commit(_, name, subscription, session), Some(topic)) => {
                self.commit(question, topic, &name, &subscription, session);
            }
            (R::Subscriptions(_, after), Some(topic)) => {
                self.list_subscriptions(question, topic, after.as_ref());
            }
            (R::Verify(_, after, repairs), Some(topic)) => {
                if repairs {
                    self.repair_soon();
                }
                self.verify(question, topic, after);
            }
            (R::Names(wanted), _) => {
                let visible = self.visible_to(asker);
                self.catalogue.on_names(&mut self.core, question, wanted, visible);
            }
            (R::Outbox(after), _) => {
                self.list_outbox(question, after.as_ref(), &self.visible_to(asker));
            }
            (R::Topics(after), _) => {
                let visible = self.visible_to(asker);
                self.catalogue.on_list(&mut self.core, question, after, visible);
            }
            (R::Describe(name), _) => catalogue::describe(&mut self.core, question, &name),
            (R::Peers, _) => self.list_peers(question),
            (R::Forget(node), _) => self.forget(question, asker, node),
            (R::Leave(node), _) => self.leave(question, node),
            (request, None) => debug_assert!(false, "the topic of {request:?} is resolved"),
        }
    }

    fn node_asked(&mut self, question: QuestionId, asker: Asker, request: NodeRequest) {
        use NodeRequest as R;
        if let Some(member) = self.membership_of(asker) {
            let topic = request.topic().and_then(|topic| self.core.topics.name_of(topic));
            if let Err(refusal) = rights::check_member_node(&member, &request, topic) {
                return self.core.refuse(question, refusal);
            }
        }
        match (request, asker.node()) {
            (R::Leaving(finished), Some(node)) => self.leaves(question, node, finished),
            (R::Stopping, Some(node)) => self.stops(question, node),
            (R::Compare(after, digest), Some(node)) => self.compare(question, node, after, digest),
            (R::Keep(topic, name, subscription, session), Some(_)) => {
                self.keep(question, (topic, &name), &subscription, session);
            }
            (R::Announce(Some(signed)), Some(_)) => self.hear(question, &signed),
            (R::Prove(topic, ranges, nonce), Some(node)) => {
                self.prove(Challenged { question, asker: node, topic, ranges, nonce });
            }
            (R::CompareRoster(wanted), _) => self.compare_roster(question, wanted),
            // Who tells of statements need not be believed: they are signed.
            (R::TellRoster(told), _) => self.hear_roster(question, asker, told),
            // Only a node can say these of itself, or has made sure of what it says.
            (
                R::Leaving(_)
                | R::Stopping
                | R::Compare(..)
                | R::Keep(..)
                | R::Announce(_)
                | R::Prove(..),
                _,
            ) => {
                self.core.refuse(question, Refusal::Unsupported(None));
            }
            (R::Statements(wanted), _) => {
                catalogue::exchange::tell(&mut self.core, question, wanted);
            }
            (R::Replicate(replicate), from) => self.replicate(question, from, &replicate),
            (R::Frontier(topic, subscriber, wanted), from) => {
                self.show_held(question, from, topic, (subscriber, wanted));
            }
            (R::Fetch(topic, ranges, bytes_max), from) => {
                self.fetch(question, from, topic, ranges, bytes_max);
            }
            (R::Check(topic, range, bytes_max), _) => {
                self.check_for(question, topic, range, bytes_max);
            }
            (R::Positions(topic, after), _) => {
                self.list_positions(question, topic, after.as_ref());
            }
            (R::Counts, _) => catalogue::listing::count_records(&mut self.core, question),
            (R::Find(topic, runs), _) => self.find_for(question, topic, runs),
        }
    }
}
