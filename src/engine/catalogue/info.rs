//! What clients are told of a topic: its terms, how far it goes, and who holds it.

use crate::{
    engine::{
        Engine,
        core::Core,
        ids::QuestionId,
        inflight::found::{Found, lacking},
        members::Member,
        survey::Then,
    },
    model::{Cursor, Entry, Frontier, NodeId, Position, TopicId},
    wire::{Refusal, ReplicaState, Response, Role, Surveyed, TopicSummary},
};

impl Engine {
    pub(in crate::engine) fn survey_for_client(&mut self, question: QuestionId, topic: TopicId) {
        self.survey(topic, Then::Answer(question));
    }

    pub(in crate::engine) fn answer_survey(&mut self, question: QuestionId, found: &Found) {
        let end = found.end();
        let mut low = Cursor::start(found.topic);
        for (log, position) in &end.logs {
            let entries = found.held.values().filter_map(|held| held.frontier.0.get(log));
            let cut = entries.clone().map(|entry| entry.low).max().unwrap_or(0);
            let lowest = entries.map(|entry| entry.first().min(cut)).min().unwrap_or(0);
            low.logs.insert(*log, Position { next: lowest, ..*position });
        }
        let total = end.records().saturating_sub(low.records());
        let replicas = found.placement.all().map(|node| self.core.replica_state(node, found, &end));
        let replicas = replicas.collect();
        let Some(mut summary) = self.core.summary(found.topic) else {
            // It was deleted meanwhile.
            let name = found.topic.to_string();
            return self.core.refuse(question, Refusal::UnknownTopic { name, nearest: None });
        };
        summary.records = total;
        let known = self.core.topics.get(&found.topic);
        let forks = known.map(|known| known.forks.told().into_iter().collect()).unwrap_or_default();
        let surveyed = Surveyed { summary, end, low, replicas, complete: found.complete, forks };
        // What this node itself holds and has not flushed is part of the answer.
        self.core.answer_flushed(question, Response::Surveyed(surveyed));
    }
}

impl Core {
    fn replica_state(&self, node: NodeId, found: &Found, end: &Cursor) -> ReplicaState {
        let frontier = found.held.get(&node).map(|held| &held.frontier);
        // Not all up to the end: a hole that nobody can fill is not this node's lack.
        let complete = frontier.is_some_and(|mine| {
            let others = found.held.values();
            let same = |(log, position): (&_, &Position)| {
                let entry = mine.0.get(log);
                let at_end = |entry: &Entry| {
                    entry.end().map(|(next, head)| Position { next, head: Some(head) })
                        == Some(*position)
                };
                entry.is_some_and(|entry| at_end(entry) || entry.low >= position.next)
                    || position.next == 0
            };
            end.logs.iter().all(same)
                && others.map(|held| lacking(&held.frontier, mine)).all(|lacks| lacks.is_empty())
        });
        let addresses = if node == self.me {
            self.addresses.clone()
        } else {
            self.members.get(&node).map(|member| member.addresses.clone()).unwrap_or_default()
        };
        let role = if found.placement.is_home(&node) { Role::Home } else { Role::StandIn };
        ReplicaState {
            node,
            role,
            state: self.members.state(&node),
            stopped: self.members.get(&node).is_some_and(Member::has_stopped),
            addresses,
            records: frontier.map(Frontier::records),
            complete,
        }
    }

    /// A topic in brief, as far as this node knows; the records are its own.
    pub(in crate::engine) fn summary(&mut self, topic: TopicId) -> Option<TopicSummary> {
        let nodes_alive = u32::try_from(self.members.alive_count()).unwrap_or(u32::MAX);
        let nodes = self.members.belonging();
        let known = self.topics.get_mut(&topic)?;
        let owners = known.placement(&self.members).acting.clone();
        let descriptor = known.descriptor.as_ref().filter(|_| known.is_known())?.descriptor();
        Some(TopicSummary {
            name: descriptor.name.clone(),
            replicas: descriptor.replicas,
            min_copies: descriptor.floor(nodes),
            floor_follows: descriptor.floor_follows,
            owners,
            records: known.records(),
            nodes_alive,
            retention: descriptor.retention,
        })
    }
}
