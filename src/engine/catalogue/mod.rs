//! The catalogue: the signed terms of all topics.
//!
//! Every node keeps all of it, so every node knows and lists every topic. Of each topic it keeps
//! one statement, and of two statements every node chooses the same one. So the order in which
//! nodes learn them does not matter: if two nodes create one name at the same time, all choose the
//! earlier one. Who signs new terms tells all others at once (`announce.rs`). A node that
//! was away finds out by comparing (`exchange.rs`).
//!
//! Telling, comparing, looking up, listing and watching names are types that borrow the core.
//! Creating, altering and deleting stay with the engine, for a deletion clears every part of it.

mod alter;
mod announce;
pub(super) mod exchange;
mod info;
pub(super) mod listing;
mod lookups;
mod names;
mod renewing;

use std::collections::BTreeMap;

pub(super) use self::announce::Change;
use self::{
    announce::Announcements, exchange::Exchanges, listing::Listings, lookups::Lookups,
    names::Names, renewing::Renewing,
};
use super::{
    Engine,
    core::Core,
    holdings::{log::Log, topics::Topics},
    ids::{ChangeId, QuestionId, TopicListingId},
    input::Failure,
    output::Write,
    roster::Visible,
    wing::Wing,
};
use crate::{
    limits::{REPLICAS_DEFAULT, SIGNED_TOPICS_MAX, TOPICS_MAX},
    model::{
        Batch, Blob, COUNTED_TOO_FAR, Descriptor, Hash, LogId, NodeId, SignedDescriptor, TopicId,
        TopicName, TopicNameError, floor_that_follows,
    },
    wire::{Create, NamesWanted, Refusal, Response},
};

/// What is under way, and who waits for other names.
#[derive(Debug, Default)]
pub(super) struct State {
    announcements: Announcements,
    exchanges: Exchanges,
    /// The digest of the statements of this node that another one knew as well.
    known_elsewhere: Option<Hash>,
    lookups: Lookups,
    listings: Listings,
    names: Names,
    renewing: Renewing,
}

impl State {
    /// A client asks for the topics after a name.
    pub(super) fn on_list(
        &mut self,
        core: &mut Core,
        question: QuestionId,
        after: Option<TopicName>,
        visible: Visible,
    ) {
        self.listings.begin(core, question, after, visible);
    }

    /// A client asks for the names that match a pattern, once they are others than it knows.
    pub(super) fn on_names(
        &mut self,
        core: &mut Core,
        question: QuestionId,
        wanted: NamesWanted,
        visible: Visible,
    ) {
        self.names.on_request(core, question, wanted, visible);
    }

    /// A node has said how many records it holds of each topic.
    pub(super) fn on_counts(
        &mut self,
        core: &mut Core,
        node: NodeId,
        listing: TopicListingId,
        result: Result<Response, Failure>,
    ) {
        self.listings.on_response(core, node, listing, result);
    }

    /// A node has said what it knows: what this one knows, or statements of another digest.
    pub(super) fn on_compared(&mut self, core: &mut Core, node: NodeId, other: Option<Hash>) {
        let mine = core.topics.statements().digest();
        if other.is_some_and(|other| other != mine) {
            self.exchanges.begin(core, node);
        } else if !core.members.is_leaving(&node) {
            self.known_elsewhere = Some(mine);
        }
    }

    /// Whether a node that stays knows all statements that this one knows.
    pub(super) fn is_known_elsewhere(&self, core: &mut Core) -> bool {
        let statements = core.topics.statements();
        statements.len() == 0 || self.known_elsewhere == Some(statements.digest())
    }

    /// A topic has become known, or is no more.
    pub(super) fn on_name(&mut self, name: &TopicName) {
        self.names.on_name(name);
    }
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        engine.catalogue.names.on_tick(&mut engine.core);
        for (question, topic, change) in engine.catalogue.announcements.on_tick(&mut engine.core) {
            engine.change_told(question, topic, change);
        }
        engine.tick_renewing();
    }

    fn on_flushed(_: &mut Engine) {}

    fn on_topic_deleted(_: &mut Engine, _: TopicId, _: &Refusal) {}

    fn on_abandoned(engine: &mut Engine, question: QuestionId) {
        engine.catalogue.names.on_abandoned(question);
        engine.catalogue.announcements.on_abandoned(question);
    }
}

/// The descriptors in a batch of the catalogue of an old directory, which was a topic. A record
/// that is none is passed over.
pub(super) fn descriptors_in(batch: &Batch) -> impl Iterator<Item = SignedDescriptor> {
    let records = batch.records().filter_map(Result::ok);
    records.filter_map(|record| SignedDescriptor::verify(record.payload).ok())
}

/// Why terms find no place, though those of other nodes do.
pub(super) fn too_many_signed(node: &NodeId) -> String {
    format!(
        "node {node} has signed the terms of {SIGNED_TOPICS_MAX} topics, deleted ones included: no \
         more of it fit; another node may create the topic"
    )
}

/// Which topic of its name one would be that is created now.
fn next_generation(newest: &Descriptor) -> u64 {
    newest.generation.saturating_add(u64::from(newest.deleted))
}

/// Tells the newest terms of a name. A deletion, too: a topic that gets the name is another one.
pub(super) fn describe(core: &mut Core, question: QuestionId, name: &TopicName) {
    let descriptor = core.topics.newest_signed(name);
    let bytes = descriptor.map(|signed| Blob(signed.bytes().clone()));
    core.answer(question, Response::Described(bytes));
}

impl Engine {
    // --- finding ---------------------------------------------------------------------------

    /// Asks other nodes for a topic that is not known here, unless they are being asked.
    pub(super) fn look_up(&mut self, name: &TopicName) {
        if self.catalogue.lookups.begin(&mut self.core, name) {
            self.looked_up(name);
        }
    }

    pub(super) fn described(
        &mut self,
        node: NodeId,
        name: &TopicName,
        result: Result<Response, Failure>,
    ) {
        if let Ok(Response::Described(Some(bytes))) = result
            && let Ok(descriptor) = SignedDescriptor::verify(bytes.0)
            && descriptor.descriptor().name == *name
        {
            self.learn(&descriptor);
        }
        if self.catalogue.lookups.on_response(node, name) {
            self.looked_up(name);
        }
    }

    /// A topic has become known: what waited for it goes on.
    pub(super) fn topic_known(&mut self, name: &TopicName) {
        if self.catalogue.lookups.end(name) {
            self.looked_up(name);
        }
    }

    // --- telling and hearing ---------------------------------------------------------------

    /// A node tells of terms. It is answered which terms of that topic hold here, once they are
    /// kept.
    pub(super) fn hear(&mut self, question: QuestionId, signed: &SignedDescriptor) {
        self.learn(signed);
        let topic = self.core.topics.id_of(signed.descriptor());
        let held = self.core.topics.get(&topic).and_then(|known| known.descriptor.as_ref());
        let Some(bytes) = held.map(|held| Blob(held.bytes().clone())) else {
            if !self.is_within_reach(topic, signed.descriptor()) {
                return self.core.refuse_invalid(question, COUNTED_TOO_FAR);
            }
            if let Err(refusal) = self.check_signer(signed.descriptor()) {
                return self.core.refuse(question, refusal);
            }
            let has_place = self.core.topics.has_place_for(signed.descriptor());
            let why = (!has_place).then(|| too_many_signed(&signed.descriptor().creator));
            return self.core.refuse(question, Refusal::Full(why));
        };
        self.core.answer_flushed(question, Response::Described(Some(bytes)));
    }

    /// A node was told of terms that this one signed.
    pub(super) fn announced(
        &mut self,
        node: NodeId,
        change: ChangeId,
        result: Result<Response, Failure>,
    ) {
        let Ok(Response::Described(Some(bytes))) = result else {
            return; // it is told again
        };
        if let Ok(held) = SignedDescriptor::verify(bytes.0) {
            self.learn(&held);
        }
        if let Some((question, topic, change)) = self.catalogue.announcements.on_kept(change, node)
        {
            self.change_told(question, topic, change);
        }
    }

    /// A node has said what of the statements this one does not know.
    pub(super) fn statements_told(&mut self, node: NodeId, result: Result<Response, Failure>) {
        let told = match result {
            Ok(Response::Statements(told)) => Some(told),
            Ok(_) | Err(_) => None,
        };
        for signed in self.catalogue.exchanges.on_response(&mut self.core, node, told) {
            self.learn(&signed);
        }
        self.catalogue.exchanges.go_on(&mut self.core, node);
    }

    /// Keeps the terms that an old directory has in the topic that the catalogue was, and removes
    /// that topic.
    pub(super) fn rewrite_catalogue(
        &mut self,
        logs: Option<BTreeMap<LogId, Log>>,
        kept: &BTreeMap<TopicId, SignedDescriptor>,
    ) {
        let Some(logs) = logs else { return };
        let terms = self.core.topics.iter().filter_map(|topic| {
            let signed = topic.descriptor.as_ref()?;
            (kept.get(&topic.id) != Some(signed)).then(|| (topic.id, signed.clone()))
        });
        for (topic, signed) in terms.collect::<Vec<_>>() {
            self.core.write(Write::Descriptor(topic, signed));
        }
        let topic = Topics::old_catalogue(&self.core.config.realm);
        for log_id in logs.into_keys() {
            self.core.write(Write::Drop { topic, log_id, from: 0, to: u64::MAX, log: None });
        }
    }

    // --- creating --------------------------------------------------------------------------

    /// Whether terms can ever hold: otherwise nobody is asked for the name.
    pub(super) fn check_terms(&mut self, create: &Create) -> Result<(), Refusal> {
        if create.name.is_reserved() {
            return Err(Refusal::Invalid(TopicNameError::Reserved.to_string()));
        }
        Ok(self.terms(create).check()?)
    }

    /// The topic is there already.
    pub(super) fn create_again(&mut self, question: QuestionId, topic: TopicId, create: &Create) {
        let is_another = create.origin.is_some_and(|origin| origin != topic);
        if !create.if_not_exists || is_another {
            return self.core.refuse(question, Refusal::TopicExists(create.name.to_string()));
        }
        let Some(summary) = self.core.summary(topic) else {
            debug_assert!(false, "the terms of a topic with a name are known");
            return;
        };
        self.core.answer(question, Response::Created(summary, true));
    }

    /// The terms of a topic that would be created now.
    fn terms(&mut self, create: &Create) -> Descriptor {
        let mut terms = self.terms_but_id(create);
        let id = self.core.topics.id_of(&terms);
        if create.origin.is_some_and(|origin| origin != id) {
            terms.origin = create.origin;
        } else if self.core.topics.name_of(&id).is_some_and(|name| *name != create.name) {
            // A topic of another name was imported with the id that this name would have.
            terms.generation = terms.generation.saturating_add(1);
        }
        terms
    }

    fn terms_but_id(&mut self, create: &Create) -> Descriptor {
        let replicas = create.replicas.unwrap_or(REPLICAS_DEFAULT);
        let floor = floor_that_follows(replicas, self.core.members.belonging());
        let created = self.core.clock.tick(self.core.now.wall);
        let mut terms = Descriptor::new(create.name.clone(), self.core.me, created);
        terms.replicas = replicas;
        terms.min_copies = create.min_copies.unwrap_or(floor);
        terms.floor_follows = create.min_copies.is_none();
        terms.retention = create.retention;
        terms.generation = self.core.topics.newest(&create.name).map_or(0, next_generation);
        terms
    }

    /// No node that was reached knows the topic.
    pub(super) fn create_new(&mut self, question: QuestionId, create: &Create) {
        if let Some(topic) = self.core.topics.named(&create.name) {
            // Somebody else asked for it at the same time.
            return self.create_again(question, topic, create);
        }
        if let Some(other) = create.origin.and_then(|origin| self.core.topics.name_of(&origin))
            && *other != create.name
        {
            // Two topics cannot have one id.
            return self.core.refuse(question, Refusal::TopicExists(other.to_string()));
        }
        if self.core.topics.is_full() {
            let text = format!("{TOPICS_MAX} topics are known, deleted ones included: no more fit");
            return self.core.refuse(question, Refusal::Full(Some(text)));
        }
        if self.core.topics.has_signed_all(&self.core.me) {
            let text = too_many_signed(&self.core.me);
            return self.core.refuse(question, Refusal::Full(Some(text)));
        }
        match self.terms(create).sign(&self.core.config.key) {
            Ok(signed) => self.publish_terms(question, signed, Change::Created),
            Err(error) => self.core.refuse(question, error.into()),
        }
    }
}
