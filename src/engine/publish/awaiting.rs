//! Following pending records until they have their copies.
//!
//! Any node can be asked, not only the one that accepted them. It asks the topic's replicas what
//! they hold of that log. As for a publisher, it counts how many hold the records and everything
//! before them.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    engine::{Engine, ids::QuestionId, inflight::found::Found, survey::Then},
    limits::{AWAITS_MAX, READ_WAIT_MAX, SEQUENCE_MAX},
    model::{NodeId, TopicId},
    wire::{Await, Published, Refusal, Request, Response, small},
};

/// Pause before the replicas are asked again; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A question that waits.
#[derive(Debug)]
struct Waiting {
    topic: TopicId,
    wanted: Await,
    deadline: Duration,
    /// When the replicas are asked again; none while they are being asked.
    ask_at: Option<Duration>,
    pause: Duration,
}

/// The questions that wait.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    waiting: BTreeMap<QuestionId, Waiting>,
}

impl State {
    pub(in crate::engine) fn abandon(&mut self, question: QuestionId) {
        self.waiting.remove(&question);
    }

    /// Takes out those who wait for a topic.
    pub(in crate::engine) fn of_topic(&mut self, topic: TopicId) -> Vec<QuestionId> {
        let of_topic = self.waiting.extract_if(.., |_, waiting| waiting.topic == topic);
        of_topic.map(|(question, _)| question).collect()
    }
}

impl Engine {
    pub(in crate::engine) fn await_copies(&mut self, question: QuestionId, wanted: Await) {
        let request = Request::Await(wanted.clone());
        let Some(topic) = self.find(question, &wanted.topic, request) else {
            return;
        };
        if wanted.place.from >= wanted.place.to || wanted.place.to > SEQUENCE_MAX {
            return self.core.refuse_invalid(question, "no such part of a log");
        }
        if self.publish.awaiting.waiting.len() >= AWAITS_MAX {
            return self.core.refuse(question, Refusal::Busy);
        }
        let wait = Duration::from_millis(u64::from(wanted.wait_ms)).min(READ_WAIT_MAX);
        let deadline = self.core.now.elapsed + wait;
        let waiting = Waiting { topic, wanted, deadline, ask_at: None, pause: PAUSE_MIN };
        self.publish.awaiting.waiting.insert(question, waiting);
        self.survey(topic, Then::Await(question));
    }

    pub(in crate::engine) fn tick_awaiting(&mut self) {
        let now = self.core.now.elapsed;
        let mut due = Vec::new();
        for (question, waiting) in &mut self.publish.awaiting.waiting {
            if waiting.ask_at.take_if(|at| *at <= now).is_some() {
                due.push((waiting.topic, *question));
            }
        }
        for (topic, question) in due {
            self.survey(topic, Then::Await(question));
        }
    }

    /// The replicas have said what they hold.
    pub(in crate::engine) fn await_found(&mut self, question: QuestionId, found: &Found) {
        let Some(waiting) = self.publish.awaiting.waiting.get(&question) else {
            return;
        };
        let place = waiting.wanted.place;
        let Some(known) = self.core.topics.get_mut(&found.topic).filter(|known| known.is_known())
        else {
            return;
        };
        let sealed = known.forks.sealed_at(place.log);
        let wanted = known.wanted(&self.core.members, waiting.wanted.acks);
        let replicas = known.replicas();
        let entries = || found.held.values().filter_map(|held| held.frontier.0.get(&place.log));
        // What any of them holds: of an older part, faults may have destroyed some.
        let before: Vec<_> = entries()
            .flat_map(|entry| &entry.spans)
            .map(|span| (span.first, span.next.min(place.to)))
            .collect();
        let holds = |node: &&NodeId| {
            let entry = found.held.get(*node).and_then(|held| held.frontier.0.get(&place.log));
            entry.is_some_and(|entry| {
                entry.covers(place.from, place.to)
                    && before.iter().all(|(from, to)| entry.covers(*from, *to))
            })
        };
        let holders: Vec<_> = found.placement.acting.iter().filter(holds).collect();
        let stand_ins = holders.iter().filter(|node| !found.placement.is_home(node)).count();
        let acknowledged = holders.len() >= wanted;
        let published = Published {
            acknowledged,
            copies: small(holders.len()),
            stand_ins: small(stand_ins),
            replicas,
            wanted: small(wanted),
            place: (!acknowledged).then_some(place),
            too_few_nodes: !acknowledged && found.placement.acting.len() < wanted,
            ..Published::default()
        };
        let is_forked = sealed.is_some_and(|at| at < place.to);
        let now = self.core.now.elapsed;
        let Some(waiting) = self.publish.awaiting.waiting.get_mut(&question) else {
            return;
        };
        if !acknowledged && !is_forked && now < waiting.deadline {
            waiting.ask_at = Some((now + waiting.pause).min(waiting.deadline));
            waiting.pause = (waiting.pause * 2).min(PAUSE_MAX);
            return;
        }
        self.publish.awaiting.waiting.remove(&question);
        if is_forked {
            // They may be in either branch, or were written anew.
            return self.core.refuse(question, Refusal::Forked(None));
        }
        self.core.answer_flushed(question, Response::Awaited(published));
    }
}
