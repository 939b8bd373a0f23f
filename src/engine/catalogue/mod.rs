//! The catalogue: the system topic that lists all topics.
//!
//! Its records are signed descriptors. Every node holds it, so every node knows and lists every
//! topic. If two nodes create one name at the same time, both write a descriptor, and all nodes
//! choose the earlier one.

pub(super) mod alter;
mod info;
pub(super) mod names;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Engine,
    ids::{QuestionId, TopicListingId},
    inflight::asks::Purpose,
    input::Failure,
    numbered::Numbered,
    publish::outgoing::Change,
};
use crate::{
    engine::wing::Wing,
    limits::{REPLICAS_DEFAULT, SURVEY_TIMEOUT, TOPICS_PER_MESSAGE_MAX},
    model::{
        Batch, Blob, Descriptor, NodeId, SignedDescriptor, TopicId, TopicName, TopicNameError,
        Writers, floor_that_follows,
    },
    wire::{ClientRequest, Create, NodeRequest, Refusal, Response, TopicCount},
};

/// Topics whose numbers of records go into one answer: some 4 MB.
const COUNTS_MAX: usize = 100_000;

/// Nodes that are asked whether they know a topic that this one does not.
const DESCRIBE_ASKED_MAX: usize = 32;

/// A listing that waits for the numbers of records.
#[derive(Debug)]
struct Listing {
    question: QuestionId,
    after: Option<TopicName>,
    waiting: BTreeSet<NodeId>,
    counts: BTreeMap<TopicId, u64>,
}

/// Lookups and listings under way.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The nodes whose answer is awaited, for each topic that is looked for.
    lookups: BTreeMap<TopicName, BTreeSet<NodeId>>,
    listings: Numbered<TopicListingId, Listing>,
    pub(super) names: names::State,
}

/// The descriptors in a batch of the catalogue. A record that is none is passed over.
pub(super) fn descriptors_in(batch: &Batch) -> impl Iterator<Item = SignedDescriptor> {
    let records = batch.records().filter_map(Result::ok);
    records.filter_map(|record| SignedDescriptor::verify(record.payload).ok())
}

/// Which topic of its name one would be that is created now.
fn next_generation(newest: &Descriptor) -> u64 {
    newest.generation.saturating_add(u64::from(newest.deleted))
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        engine.tick_names();
    }

    fn on_flushed(_: &mut Engine) {}

    fn on_topic_deleted(_: &mut Engine, _: TopicId, _: &Refusal) {}

    fn on_abandoned(engine: &mut Engine, question: QuestionId) {
        engine.catalogue.names.abandon(question);
    }
}

impl Engine {
    // --- finding ---------------------------------------------------------------------------

    /// Asks other nodes for a topic that is not known here, unless they are being asked.
    pub(super) fn look_up(&mut self, name: &TopicName) {
        if self.catalogue.lookups.contains_key(name) {
            return;
        }
        let mut asked = self.core.members.reachable();
        asked.truncate(DESCRIBE_ASKED_MAX);
        self.catalogue.lookups.insert(name.clone(), asked.iter().copied().collect());
        for node in &asked {
            let purpose = Purpose::Describe(name.clone());
            self.core.ask(*node, ClientRequest::Describe(name.clone()), SURVEY_TIMEOUT, purpose);
        }
        if asked.is_empty() {
            self.finish_lookup(name);
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
            self.adopt_kept(&descriptor);
        }
        let Some(waiting) = self.catalogue.lookups.get_mut(name) else {
            return;
        };
        waiting.remove(&node);
        if waiting.is_empty() {
            self.finish_lookup(name);
        }
    }

    /// A topic has become known: what waited for it goes on.
    pub(super) fn topic_known(&mut self, name: &TopicName) {
        self.finish_lookup(name);
    }

    fn finish_lookup(&mut self, name: &TopicName) {
        if self.catalogue.lookups.remove(name).is_some() {
            self.looked_up(name);
        }
    }

    pub(super) fn describe(&mut self, question: QuestionId, name: &TopicName) {
        // A deletion, too: a topic that gets the name is another one.
        let descriptor = self.core.topics.newest_signed(name);
        let bytes = descriptor.map(|signed| Blob(signed.bytes().clone()));
        self.core.answer(question, Response::Described(bytes));
    }

    // --- creating --------------------------------------------------------------------------

    /// Whether terms can ever hold: otherwise nobody is asked for the name.
    pub(super) fn check_terms(&mut self, create: &Create) -> Result<(), Refusal> {
        if create.name.is_reserved() {
            return Err(Refusal::Invalid(TopicNameError::Reserved.to_string()));
        }
        let signed = self.terms(create).sign(&self.core.config.key);
        signed.map(|_| ()).map_err(Refusal::from)
    }

    /// The topic is there already.
    pub(super) fn create_again(&mut self, question: QuestionId, topic: TopicId, create: &Create) {
        let is_another = create.origin.is_some_and(|origin| origin != topic);
        if !create.if_not_exists || is_another {
            return self.core.refuse(question, Refusal::TopicExists(create.name.to_string()));
        }
        if let Some(summary) = self.summary(topic) {
            self.core.answer(question, Response::Created(summary, true));
        }
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
        Descriptor {
            version: Descriptor::VERSION,
            name: create.name.clone(),
            replicas,
            min_copies: create.min_copies.unwrap_or(floor),
            floor_follows: create.min_copies.is_none(),
            retention: create.retention,
            writers: Writers::Anyone,
            encryption_key: None,
            creator: self.core.me,
            created: self.core.clock.tick(self.core.now.wall),
            revision: 0,
            generation: self.core.topics.newest(&create.name).map_or(0, next_generation),
            deleted: false,
            origin: None,
        }
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
        let descriptor = match self.terms(create).sign(&self.core.config.key) {
            Ok(descriptor) => descriptor,
            Err(error) => return self.core.refuse(question, error.into()),
        };
        self.publish_terms(question, &descriptor, Change::Created);
    }

    // --- listing ---------------------------------------------------------------------------

    pub(super) fn list_topics(&mut self, question: QuestionId, after: Option<TopicName>) {
        let asked = self.core.members.reachable();
        let counts = self.core.topics.iter().map(|topic| (topic.id, topic.records())).collect();
        let number = self.catalogue.listings.insert(Listing {
            question,
            after,
            waiting: asked.iter().copied().collect(),
            counts,
        });
        for node in &asked {
            self.core.ask(*node, NodeRequest::Counts, SURVEY_TIMEOUT, Purpose::Counts(number));
        }
        if asked.is_empty() {
            self.finish_listing(number);
        }
    }

    pub(super) fn counted(
        &mut self,
        node: NodeId,
        number: TopicListingId,
        result: Result<Response, Failure>,
    ) {
        let Some(listing) = self.catalogue.listings.get_mut(number) else {
            return;
        };
        if let Ok(Response::Counts(counts)) = result {
            for count in counts {
                let known = listing.counts.entry(count.topic).or_default();
                *known = count.records.max(*known);
            }
        }
        listing.waiting.remove(&node);
        if listing.waiting.is_empty() {
            self.finish_listing(number);
        }
    }

    fn finish_listing(&mut self, number: TopicListingId) {
        let Some(listing) = self.catalogue.listings.remove(number) else {
            return;
        };
        let names = self.core.topics.names_after(listing.after.as_ref());
        let mut page: Vec<_> = names.map(|(_, id)| id).take(TOPICS_PER_MESSAGE_MAX + 1).collect();
        let more = page.len() > TOPICS_PER_MESSAGE_MAX;
        page.truncate(TOPICS_PER_MESSAGE_MAX);
        let mut summaries = Vec::with_capacity(page.len());
        for id in page {
            if let Some(mut summary) = self.summary(id) {
                summary.records = listing.counts.get(&id).copied().unwrap_or(summary.records);
                summaries.push(summary);
            }
        }
        self.core.answer(listing.question, Response::Topics(summaries, more));
    }

    pub(super) fn count_records(&mut self, question: QuestionId) {
        let held = self.core.topics.iter().filter(|topic| topic.holds_batches());
        let count = held.map(|topic| TopicCount { topic: topic.id, records: topic.records() });
        let counts = count.take(COUNTS_MAX).collect();
        self.core.answer(question, Response::Counts(counts));
    }
}
