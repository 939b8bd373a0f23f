//! Listing topics, with the number of records that the network holds of each.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    engine::{
        core::Core,
        ids::{QuestionId, TopicListingId},
        inflight::asks::Purpose,
        input::Failure,
        numbered::Numbered,
        roster::Visible,
    },
    limits::{SURVEY_TIMEOUT, TOPICS_PER_MESSAGE_MAX},
    model::{NodeId, TopicId, TopicName},
    wire::{NodeRequest, Response, TopicCount},
};

/// Topics whose numbers of records go into one answer: some 4 MB.
const COUNTS_MAX: usize = 100_000;

/// A listing that waits for the numbers of records.
#[derive(Debug)]
struct Listing {
    question: QuestionId,
    after: Option<TopicName>,
    visible: Visible,
    waiting: BTreeSet<NodeId>,
    counts: BTreeMap<TopicId, u64>,
}

/// The listings under way.
#[derive(Debug, Default)]
pub(super) struct Listings(Numbered<TopicListingId, Listing>);

impl Listings {
    /// Asks all nodes how much they hold.
    pub(super) fn begin(
        &mut self,
        core: &mut Core,
        question: QuestionId,
        after: Option<TopicName>,
        visible: Visible,
    ) {
        let asked = core.members.reachable();
        let counts = core.topics.iter().map(|topic| (topic.id, topic.records())).collect();
        let number = self.0.insert(Listing {
            question,
            after,
            visible,
            waiting: asked.iter().copied().collect(),
            counts,
        });
        for node in &asked {
            core.ask(*node, NodeRequest::Counts, SURVEY_TIMEOUT, Purpose::Counts(number));
        }
        if asked.is_empty() {
            self.finish(core, number);
        }
    }

    /// A node has answered, or will not.
    pub(super) fn on_response(
        &mut self,
        core: &mut Core,
        node: NodeId,
        number: TopicListingId,
        result: Result<Response, Failure>,
    ) {
        let Some(listing) = self.0.get_mut(number) else {
            debug_assert!(false, "a listing waits for all whom it asked");
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
            self.finish(core, number);
        }
    }

    fn finish(&mut self, core: &mut Core, number: TopicListingId) {
        let Some(listing) = self.0.remove(number) else {
            debug_assert!(false, "a listing is finished once");
            return;
        };
        let names = core.topics.names_after(listing.after.as_ref());
        let names = names.filter(|(name, _)| listing.visible.shows(name));
        let mut page: Vec<_> = names.map(|(_, id)| id).take(TOPICS_PER_MESSAGE_MAX + 1).collect();
        let more = page.len() > TOPICS_PER_MESSAGE_MAX;
        page.truncate(TOPICS_PER_MESSAGE_MAX);
        let mut summaries = Vec::with_capacity(page.len());
        for id in page {
            if let Some(mut summary) = core.summary(id) {
                summary.records = listing.counts.get(&id).copied().unwrap_or(summary.records);
                summaries.push(summary);
            }
        }
        core.answer(listing.question, Response::Topics(summaries, more));
    }
}

/// Tells how many records this node holds of each topic.
pub(in crate::engine) fn count_records(core: &mut Core, question: QuestionId) {
    let held = core.topics.iter().filter(|topic| topic.holds_batches());
    let count = held.map(|topic| TopicCount { topic: topic.id, records: topic.records() });
    let counts = count.take(COUNTS_MAX).collect();
    core.answer(question, Response::Counts(counts));
}
