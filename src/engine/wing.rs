//! What every part of the engine that acts by itself must answer to.
//!
//! Requests come to a part by the front door, and answers by the purpose of what was asked. The
//! events here are about all parts: one that forgets one of them would leak, or stand still.

use super::{Engine, ids::QuestionId};
use crate::{model::TopicId, wire::Refusal};

/// A part of the engine with state of its own.
pub(super) trait Wing {
    /// Time has passed: a [`TICK`](crate::limits::TICK), or more after a pause.
    fn on_tick(engine: &mut Engine);

    /// All writes up to `core.durable` are flushed.
    fn on_flushed(engine: &mut Engine);

    /// A topic is deleted. What is held of it is gone; who waits for it is refused.
    fn on_topic_deleted(engine: &mut Engine, topic: TopicId, refusal: &Refusal);

    /// The asker of a question is gone.
    fn on_abandoned(engine: &mut Engine, question: QuestionId);
}
