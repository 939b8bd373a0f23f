//! Asking other nodes for topics that are not known here.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    engine::{core::Core, inflight::asks::Purpose},
    limits::SURVEY_TIMEOUT,
    model::{NodeId, TopicName},
    wire::ClientRequest,
};

/// Nodes that are asked whether they know a topic that this one does not.
const DESCRIBE_ASKED_MAX: usize = 32;

/// The nodes whose answer is awaited, for each topic that is looked for.
#[derive(Debug, Default)]
pub(super) struct Lookups(BTreeMap<TopicName, BTreeSet<NodeId>>);

impl Lookups {
    /// Asks other nodes for a topic, unless they are being asked; whether there is nobody to ask.
    pub(super) fn begin(&mut self, core: &mut Core, name: &TopicName) -> bool {
        if self.0.contains_key(name) {
            return false;
        }
        let mut asked = core.members.reachable();
        asked.truncate(DESCRIBE_ASKED_MAX);
        self.0.insert(name.clone(), asked.iter().copied().collect());
        for node in &asked {
            let purpose = Purpose::Describe(name.clone());
            core.ask(*node, ClientRequest::Describe(name.clone()), SURVEY_TIMEOUT, purpose);
        }
        asked.is_empty() && self.end(name)
    }

    /// A node has answered, or will not; whether the look-up is over with that.
    pub(super) fn on_response(&mut self, node: NodeId, name: &TopicName) -> bool {
        let Some(waiting) = self.0.get_mut(name) else {
            return false; // it has become known meanwhile
        };
        waiting.remove(&node);
        waiting.is_empty() && self.end(name)
    }

    /// Ends a look-up; whether it was under way.
    pub(super) fn end(&mut self, name: &TopicName) -> bool {
        self.0.remove(name).is_some()
    }
}
