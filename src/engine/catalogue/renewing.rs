//! Terms are signed again when their signer may not sign them any more.
//!
//! In a closed network nodes take terms of those alone who may sign them now. So terms of a member
//! that was removed would reach nobody who does not have them yet. A node that holds them and may
//! manage the topic signs the same terms, as their next revision. Comparisons spread them. Several
//! nodes may do so at the same time. Then those hold that were signed first.

use std::time::Duration;

use crate::{
    engine::{Engine, core::Core},
    limits::{RENEW_TERMS_INTERVAL, RENEW_TERMS_WITHIN, RENEWALS_AT_A_TIME},
    model::{Descriptor, SignedDescriptor},
};

/// When this node looks for such terms.
#[derive(Debug, Default)]
pub(super) struct Renewing {
    look_at: Duration,
}

impl Renewing {
    /// Who belongs has changed: this node looks soon. Not all nodes do at the same time.
    fn on_roster(&mut self, core: &mut Core) {
        let within = u64::try_from(RENEW_TERMS_WITHIN.as_millis()).unwrap_or(u64::MAX);
        let pause = Duration::from_millis(core.random.u64(..within));
        self.look_at = self.look_at.min(core.now.elapsed + pause);
    }
}

impl Engine {
    /// Other members belong than before, or have other rights.
    pub(in crate::engine) fn renew_terms_soon(&mut self) {
        self.catalogue.renewing.on_roster(&mut self.core);
    }

    pub(super) fn tick_renewing(&mut self) {
        let now = self.core.now.elapsed;
        if self.catalogue.renewing.look_at > now || !self.roster.is_closed() {
            return;
        }
        self.catalogue.renewing.look_at = now + RENEW_TERMS_INTERVAL;
        if self.core.topics.has_signed_all(&self.core.me) {
            return;
        }
        let created = self.core.clock.tick(self.core.now.wall);
        let held = self.core.topics.iter().filter_map(|topic| topic.descriptor.as_ref());
        let held = held.map(SignedDescriptor::descriptor);
        let is_due = |terms: &&Descriptor| terms.is_understood() && !self.may_still_sign(terms);
        let renewed = held.filter(is_due).map(|it| it.clone().revised_by(self.core.me, created));
        let renewed = renewed.filter(|terms| self.may_still_sign(terms));
        let renewed: Vec<_> = renewed.take(RENEWALS_AT_A_TIME).collect();
        if renewed.len() == RENEWALS_AT_A_TIME {
            // There may be more.
            self.catalogue.renewing.look_at = now;
        }
        for terms in renewed {
            if let Ok(signed) = terms.sign(&self.core.config.key) {
                self.adopt(&signed);
            }
        }
    }
}
