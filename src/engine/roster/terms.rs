//! Whose signature on the terms of a topic counts in a closed network.
//!
//! The node that is asked checks the rights of who asks, and signs. Other nodes check the rights
//! of that node: a member with a changed program cannot alter or delete what it may not manage.
//!
//! Terms that a former member signed are taken where nothing is known of the topic yet. They
//! replace nothing and delete nothing: nobody knows whether they were signed before the removal.

use super::writers::lacks;
use crate::{
    engine::Engine,
    model::{
        Descriptor, SignedDescriptor,
        roster::{Excluded, Grant, Rights},
    },
    wire::{Refusal, Right},
};

/// What terms do to those that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// They are the first ones of their name, or of a name whose topic was deleted. Or somebody
    /// else created the topic at the same time.
    Creates,
    /// They change or delete a topic, or nobody has told of the topic that they change.
    Changes { known: bool },
}

impl Engine {
    /// Refuses terms that their signer has no right to sign.
    pub(in crate::engine) fn check_signer(&self, terms: &Descriptor) -> Result<(), Refusal> {
        let Some(member) = self.roster.member(&self.core, &terms.creator) else { return Ok(()) };
        let effect = self.effect_of(terms);
        let name = terms.name.as_str();
        let (rights, right) = match effect {
            Effect::Creates => (Rights::CREATE, Right::Create),
            Effect::Changes { .. } => (Rights::MANAGE, Right::Manage),
        };
        let why = match member {
            Ok(member) => {
                let gives = |grant: &Grant| grant.gives(rights, &terms.name);
                if member.grants.iter().any(gives) {
                    return Ok(());
                }
                return Err(lacks(&member, rights, right, name));
            }
            Err(why) => why,
        };
        let was_member = why != Excluded::Unknown || self.roster.was_claimed(&terms.creator);
        if was_member && !terms.deleted && effect != (Effect::Changes { known: true }) {
            return Ok(());
        }
        let text = format!(
            "`{}`, who signed the terms of `{name}`, does not belong to this network: {why}; an admin can \
             admit it",
            terms.creator
        );
        Err(Refusal::NotAllowed { text, right })
    }

    fn effect_of(&self, terms: &Descriptor) -> Effect {
        let topics = &self.core.topics;
        let of_id = topics.get(&topics.id_of(terms)).and_then(|known| known.descriptor.as_ref());
        let of_id = of_id.map(SignedDescriptor::descriptor);
        let newest = topics.newest(&terms.name).filter(|newest| {
            // A topic of its name that is there gives way to it.
            !newest.deleted || newest.generation >= terms.generation
        });
        let mut known = of_id.into_iter().chain(newest);
        let is_first = |known: &Descriptor| {
            (known.generation, known.revision, known.deleted)
                == (terms.generation, terms.revision, terms.deleted)
        };
        let is_new = terms.revision == 0 && !terms.deleted;
        match (is_new, known.clone().next()) {
            (true, None) => Effect::Creates,
            (false, None) => Effect::Changes { known: false },
            (true, Some(_)) if known.all(is_first) => Effect::Creates,
            (_, Some(_)) => Effect::Changes { known: true },
        }
    }
}
