//! Listing the named subscriptions of a topic: what this node keeps, and what all replicas keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

use crate::{
    engine::{
        Engine,
        ids::{ListingId, QuestionId},
        inflight::asks::Purpose,
        input::Failure,
    },
    limits::{ASK_TIMEOUT, POSITIONS_BYTES_MAX},
    model::{NodeId, SubscriberName, Subscription, TopicId},
    wire::{NodeRequest, Refusal, Request, Response},
};

/// A listing that waits for the replicas.
#[derive(Debug)]
pub(super) struct Listing {
    question: QuestionId,
    topic: TopicId,
    after: Option<SubscriberName>,
    waiting: BTreeSet<NodeId>,
    /// Whether any replica has told what it keeps.
    answered: bool,
    merged: BTreeMap<SubscriberName, Subscription>,
    /// Up to which name all have told what they keep; none where it is all.
    until: Option<SubscriberName>,
}

impl Engine {
    pub(in crate::engine) fn list_positions(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        after: Option<&SubscriberName>,
    ) {
        let (positions, more) = self.positions_after(topic, after);
        self.core.answer_flushed(question, Response::Positions(positions, more));
    }

    /// The subscriptions of a topic that are kept here, after a name; whether more follow.
    fn positions_after(
        &self,
        topic: TopicId,
        after: Option<&SubscriberName>,
    ) -> (Vec<(SubscriberName, Subscription)>, bool) {
        let Some(known) = self.core.topics.get(&topic) else {
            return (Vec::new(), false);
        };
        let start = after.map_or(Unbounded, Excluded);
        page_of(known.subscriptions.range((start, Unbounded)))
    }

    /// The subscriptions of a topic that any of its replicas keeps.
    pub(in crate::engine) fn list_subscriptions(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        after: Option<&SubscriberName>,
    ) {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        let replicas: Vec<_> = known.placement(&self.core.members).all().collect();
        let is_replica = replicas.contains(&self.core.me);
        let asked: BTreeSet<_> = replicas
            .into_iter()
            .filter(|node| *node != self.core.me && self.core.members.is_connected(node))
            .collect();
        let listing = Listing {
            question,
            topic,
            after: after.cloned(),
            waiting: asked.clone(),
            answered: is_replica,
            merged: BTreeMap::new(),
            until: None,
        };
        let number = self.subscriptions.positions.listings.insert(listing);
        let (own, more) = self.positions_after(topic, after);
        self.take_positions(number, own, more);
        for node in asked {
            let request = Request::Node(NodeRequest::Positions(topic, after.cloned()));
            self.core.ask(node, request, ASK_TIMEOUT, Purpose::Positions(number));
        }
        self.settle_listing(number);
    }

    pub(in crate::engine) fn positions_told(
        &mut self,
        number: ListingId,
        node: NodeId,
        result: Result<Response, Failure>,
    ) {
        if let Some(listing) = self.subscriptions.positions.listings.get_mut(number) {
            listing.waiting.remove(&node);
            listing.answered |= matches!(result, Ok(Response::Positions(..)));
        }
        if let Ok(Response::Positions(positions, more)) = result {
            self.take_positions(number, positions, more);
        }
        self.settle_listing(number);
    }

    fn take_positions(
        &mut self,
        number: ListingId,
        mut positions: Vec<(SubscriberName, Subscription)>,
        more: bool,
    ) {
        let Some(listing) = self.subscriptions.positions.listings.get_mut(number) else {
            return;
        };
        let (topic, after) = (listing.topic, &listing.after);
        positions.retain(|(name, kept)| kept.is_well_formed(topic) && Some(name) > after.as_ref());
        if let Some((last, _)) = positions.last().filter(|_| more) {
            // Of what comes after it this node has told nothing yet.
            let told = listing.until.get_or_insert_with(|| last.clone());
            *told = last.clone().min(told.clone());
        }
        for (name, kept) in positions {
            match listing.merged.get_mut(&name) {
                Some(merged) => drop(merged.merge(&kept)),
                None => drop(listing.merged.insert(name, kept)),
            }
        }
    }

    fn settle_listing(&mut self, number: ListingId) {
        let waits = |listing: &Listing| !listing.waiting.is_empty();
        if self.subscriptions.positions.listings.get(number).is_some_and(waits) {
            return;
        }
        let Some(listing) = self.subscriptions.positions.listings.remove(number) else {
            return;
        };
        let Listing { question, answered, mut merged, until, .. } = listing;
        if !answered {
            return self.core.refuse(question, Refusal::Unreachable);
        }
        merged.retain(|name, _| until.as_ref().is_none_or(|until| name <= until));
        let (page, cut) = page_of(merged.iter());
        self.core.answer_flushed(question, Response::Subscriptions(page, cut || until.is_some()));
    }
}

/// As many subscriptions as fit in an answer; whether more follow.
fn page_of<'a>(
    all: impl Iterator<Item = (&'a SubscriberName, &'a Subscription)>,
) -> (Vec<(SubscriberName, Subscription)>, bool) {
    let mut page = Vec::new();
    let mut bytes = 0;
    for (name, kept) in all {
        bytes += crate::model::encode_to_bytes(kept).len() + name.as_str().len();
        if bytes > POSITIONS_BYTES_MAX && !page.is_empty() {
            return (page, true);
        }
        page.push((name.clone(), kept.clone()));
    }
    (page, false)
}
