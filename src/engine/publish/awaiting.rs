//! Following pending records until they have their copies.
//!
//! Any node can be asked, not only the one that accepted them. It asks the topic's replicas what
//! they hold of that log. As for a publisher, it counts how many hold the records and everything
//! before them. Nodes that are not acquainted count only beside a copy of this node, or of the node
//! that accepted the records: the publisher relied on that one.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    engine::{Engine, core::Core, ids::QuestionId, inflight::found::Found, survey::Then},
    limits::{AWAITS_MAX, READ_WAIT_MAX, SEQUENCE_MAX},
    model::{NodeId, TopicId},
    wire::{Await, Published, Refusal, Response, small},
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
pub(super) struct Awaiting {
    waiting: BTreeMap<QuestionId, Waiting>,
}

impl Awaiting {
    pub(super) fn on_abandoned(&mut self, question: QuestionId) {
        self.waiting.remove(&question);
    }

    /// Takes out those who wait for a topic.
    pub(super) fn on_topic_deleted(&mut self, topic: TopicId) -> Vec<QuestionId> {
        let of_topic = self.waiting.extract_if(.., |_, waiting| waiting.topic == topic);
        of_topic.map(|(question, _)| question).collect()
    }

    /// The questions for which the replicas are asked now.
    fn due(&mut self, now: Duration) -> Vec<(TopicId, QuestionId)> {
        let due = |(question, waiting): (&QuestionId, &mut Waiting)| {
            waiting.ask_at.take_if(|at| *at <= now).map(|_| (waiting.topic, *question))
        };
        self.waiting.iter_mut().filter_map(due).collect()
    }

    /// The replicas have said what they hold.
    fn on_found(&mut self, core: &mut Core, question: QuestionId, found: &Found) {
        // Abandoned meanwhile, or the topic was deleted.
        let Some(waiting) = self.waiting.get_mut(&question) else {
            return;
        };
        let Some(known) = core.topics.get_mut(&found.topic).filter(|known| known.is_known()) else {
            return;
        };
        let (now, place) = (core.now.elapsed, waiting.wanted.place);
        let is_forked = known.forks.sealed_at(place.log).is_some_and(|at| at < place.to);
        let wanted = known.wanted(&core.members, waiting.wanted.acks);
        let holds_before = found.holds_all(place.log, 0, place.to);
        let holds = |node: &&NodeId| found.holds(node, place) && holds_before(node);
        let holders: Vec<_> = found.placement.acting.iter().filter(holds).collect();
        let stand_ins = holders.iter().filter(|node| !found.placement.is_home(node)).count();
        let is_acquainted = |node: &&&NodeId| core.members.is_acquainted(now, node);
        let is_vouched = holders.iter().filter(is_acquainted).count() >= wanted
            || holds(&&core.me)
            || holds(&&place.log.writer);
        let acknowledged = holders.len() >= wanted && is_vouched;
        if !acknowledged && !is_forked && now < waiting.deadline {
            waiting.ask_at = Some((now + waiting.pause).min(waiting.deadline));
            waiting.pause = (waiting.pause * 2).min(PAUSE_MAX);
            return;
        }
        self.waiting.remove(&question);
        if is_forked {
            // They may be in either branch, or were written again.
            return core.refuse(question, Refusal::Forked(None));
        }
        let published = Published {
            acknowledged,
            copies: small(holders.len()),
            stand_ins: small(stand_ins),
            replicas: known.replicas(),
            wanted: small(wanted),
            place: (!acknowledged).then_some(place),
            too_few_nodes: !acknowledged && found.placement.acting.len() < wanted,
            ..Published::default()
        };
        core.answer_flushed(question, Response::Awaited(published));
    }
}

impl Engine {
    pub(in crate::engine) fn await_copies(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        wanted: Await,
    ) {
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
        for (topic, question) in self.publish.awaiting.due(self.core.now.elapsed) {
            self.survey(topic, Then::Await(question));
        }
    }

    pub(in crate::engine) fn await_found(&mut self, question: QuestionId, found: &Found) {
        self.publish.awaiting.on_found(&mut self.core, question, found);
    }
}
