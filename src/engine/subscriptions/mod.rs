//! Named subscriptions: where they stand, who reads under their names, and groups.

pub(super) mod group;
pub(super) mod listing;
pub(super) mod position;
pub(super) mod readers;
pub(super) mod told;

use super::{Engine, ids::QuestionId, wing::Wing};
use crate::{model::TopicId, wire::Refusal};

/// Positions, who reads under a name, and groups.
#[derive(Debug, Default)]
pub(super) struct State {
    positions: position::State,
    readers: readers::State,
    pub(super) groups: group::State,
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        engine.tick_groups();
    }

    fn on_flushed(_: &mut Engine) {}

    fn on_topic_deleted(engine: &mut Engine, topic: TopicId, refusal: &Refusal) {
        engine.groups_deleted(topic, refusal);
    }

    fn on_abandoned(engine: &mut Engine, question: QuestionId) {
        engine.group_abandoned(question);
    }
}
