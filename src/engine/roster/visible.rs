//! Which names of topics an asker sees.

use crate::{
    engine::{Engine, input::Asker},
    model::{
        TopicName,
        roster::{Grant, Rights},
    },
};

/// The names of topics that an asker sees: all of them, or those in which it has a right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Visible(Option<Vec<Grant>>);

impl Visible {
    /// Whether the asker sees a name.
    pub(in crate::engine) fn shows(&self, name: &TopicName) -> bool {
        let gives = |grant: &Grant| grant.gives(Rights::NONE, name);
        self.0.as_ref().is_none_or(|grants| grants.iter().any(gives))
    }
}

impl Engine {
    /// What an asker sees. A node that may hold topics knows all names, and so does everybody in an
    /// open network.
    pub(in crate::engine) fn visible_to(&self, asker: Asker) -> Visible {
        let member = self.membership_of(asker);
        let holds = |grant: &Grant| grant.rights.has(Rights::HOLD);
        let limited = member.filter(|member| !member.grants.iter().any(holds));
        Visible(limited.map(|member| member.grants))
    }
}
