//! Whose signature on the terms of a topic counts in a closed network.
//!
//! The node that is asked checks the rights of who asks, and signs. Other nodes check the rights
//! of that node: a member with a changed program cannot alter or delete what it may not manage.
//! What a former member signed is not taken: nobody can tell whether it was signed before the
//! removal. Nodes that hold it already sign it again (`catalogue::renewing`).

use super::writers::lacks;
use crate::{
    engine::Engine,
    model::{
        Descriptor, SignedDescriptor,
        roster::{Grant, Rights},
    },
    wire::{Refusal, Right},
};

impl Engine {
    /// Refuses terms that their signer has no right to sign.
    pub(in crate::engine) fn check_signer(&self, terms: &Descriptor) -> Result<(), Refusal> {
        self.check_right_to_sign(terms, self.is_creation(terms))
    }

    /// Whether the signer of terms that hold here may sign them now.
    pub(in crate::engine) fn may_still_sign(&self, terms: &Descriptor) -> bool {
        let is_creation = terms.revision == 0 && !terms.deleted;
        self.check_right_to_sign(terms, is_creation).is_ok()
    }

    fn check_right_to_sign(&self, terms: &Descriptor, is_creation: bool) -> Result<(), Refusal> {
        let Some(member) = self.roster.member(&self.core, &terms.creator) else { return Ok(()) };
        let name = terms.name.as_str();
        let (rights, right) = if is_creation {
            (Rights::CREATE, Right::Create)
        } else {
            (Rights::MANAGE, Right::Manage)
        };
        match member {
            Ok(member) => {
                let gives = |grant: &Grant| grant.gives(rights, &terms.name);
                if member.grants.iter().any(gives) {
                    return Ok(());
                }
                Err(lacks(&member, rights, right, name))
            }
            Err(why) => {
                let text = format!(
                    "`{}`, who signed the terms of `{name}`, does not belong to this network: \
                     {why}; an admin can admit it",
                    terms.creator
                );
                Err(Refusal::NotAllowed { text, right })
            }
        }
    }

    /// Whether terms change and delete nothing: they are the first ones of their name, or the topic
    /// of that name was deleted. Or somebody else created the topic at the same time.
    fn is_creation(&self, terms: &Descriptor) -> bool {
        let topics = &self.core.topics;
        let of_id = topics.get(&topics.id_of(terms)).and_then(|known| known.descriptor.as_ref());
        let of_id = of_id.map(SignedDescriptor::descriptor);
        // A topic of its name that is there gives way to it.
        let gives_way =
            |newest: &&Descriptor| !newest.deleted || newest.generation >= terms.generation;
        let mut known = of_id.into_iter().chain(topics.newest(&terms.name).filter(gives_way));
        let is_first = |known: &Descriptor| {
            (known.generation, known.revision, known.deleted) == (terms.generation, 0, false)
        };
        terms.revision == 0 && !terms.deleted && known.all(is_first)
    }
}
