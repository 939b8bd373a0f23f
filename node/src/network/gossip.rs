//! Gossip as it comes: it is verified, the engine says whether its topic takes it, and only then it
//! is passed on.
//!
//! Gossipsub gives each peer a score, and a bad one costs it first gossip, then messages, then its
//! own messages are not looked at. Here a score has two parts: the points of a peer's misdeeds, and
//! what breaks the protocol of the mesh itself. A false message counts as a misdeed for all meshes,
//! so no mesh has parameters of its own. Three other parts are left out:
//!
//! - How much a peer delivers. In meshes with few messages an honest peer looks like an idle one.
//! - How many peers have one address. The nodes of an office, or of one machine, have. Connections
//!   for each address are limited where they are opened.
//! - How slow a peer reads. Its queue is short, and what is behind it is dropped.

use std::time::Duration;

use antiphon::{engine::Input, wire::WireError};
use libp2p::{
    PeerId, gossipsub,
    gossipsub::{MessageAcceptance, PeerScoreParams, PeerScoreThresholds},
};

use super::{
    Network,
    limits::TOPICS_FOLLOWED_BY_NEW_MAX,
    rpc::Misdeed,
    verification::{GossipError, Verdict},
};

/// What is done at which score.
pub(super) const THRESHOLDS: PeerScoreThresholds = PeerScoreThresholds {
    gossip_threshold: -10.0,
    publish_threshold: -50.0,
    graylist_threshold: -80.0,
    // Nobody may say whom to connect to.
    accept_px_threshold: f64::MAX,
    opportunistic_graft_threshold: 0.0,
};

/// What a score is made of.
pub(super) fn parameters() -> PeerScoreParams {
    PeerScoreParams {
        topic_score_cap: 0.0,
        // Less than one for each point of a misdeed: a peer that is no longer heard would not be
        // cut off either.
        app_specific_weight: 0.7,
        ip_colocation_factor_weight: 0.0,
        // Grafts again too soon, or has not what it offered. A node that was restarted does the
        // first of these in some meshes.
        behaviour_penalty_weight: -10.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.9,
        slow_peer_weight: 0.0,
        // Misdeeds are remembered elsewhere.
        retain_score: Duration::from_secs(10),
        ..PeerScoreParams::default()
    }
}

impl Network {
    pub(super) fn handle_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.heard(&propagation_source);
                let (id, source) = (message_id.clone(), propagation_source);
                if !self.verification.begin(&self.protocols, id, source, message) {
                    tracing::debug!("gossip comes faster than it can be verified; some is dropped");
                    self.report(&message_id, &propagation_source, MessageAcceptance::Ignore);
                }
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                tracing::debug!(peer = %peer_id, ?failed_messages, "gossip was dropped");
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                if let Some(greedy) = self.followers.joined(topic, peer_id) {
                    self.misbehaved(greedy, Misdeed::Follows);
                }
                let follows_many = self.followers.of(&peer_id) >= TOPICS_FOLLOWED_BY_NEW_MAX;
                if follows_many && self.peers.is_new(&peer_id) {
                    self.swarm.behaviour_mut().gossip.rule.shut_out(peer_id);
                }
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                self.followers.left(&topic, &peer_id);
            }
            gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    pub(super) fn handle_verdict(&mut self, verdict: Verdict) {
        let Verdict { message, source, result } = verdict;
        match result {
            Ok(gossip) => {
                // The engine knows whether its topic takes it.
                self.heard_gossip.push_back((message, source));
                self.ready.push_back(Input::Gossiped(gossip));
            }
            // A rejection would count against its sender, which may be of a newer version.
            Err(error @ GossipError::Wire(WireError::Unknown(_))) => {
                tracing::debug!(%source, %error, "gossip is ignored");
                self.report(&message, &source, MessageAcceptance::Ignore);
            }
            Err(error) => {
                tracing::debug!(%source, %error, "gossip is rejected");
                self.report(&message, &source, MessageAcceptance::Reject);
                // Nobody honest passes on what it has not verified.
                self.misbehaved(source, Misdeed::Garbage);
            }
        }
    }

    fn report(
        &mut self,
        message: &gossipsub::MessageId,
        source: &PeerId,
        acceptance: MessageAcceptance,
    ) {
        let gossip = &mut self.swarm.behaviour_mut().gossip.inner;
        gossip.report_message_validation_result(message, source, acceptance);
    }

    /// The first message of gossip that was handed out and not judged yet is passed on, or not.
    /// That counts against nobody: who sent it may know a topic that this node does not.
    pub(crate) fn judged(&mut self, is_admitted: bool) {
        let Some((message, source)) = self.heard_gossip.pop_front() else {
            debug_assert!(false, "each message is judged once");
            return;
        };
        let acceptance =
            if is_admitted { MessageAcceptance::Accept } else { MessageAcceptance::Ignore };
        self.report(&message, &source, acceptance);
    }

    /// Tells the mesh what peers have done.
    pub(super) fn score(&mut self) {
        let gossip = &mut self.swarm.behaviour_mut().gossip.inner;
        for (peer, points) in self.conduct.points(self.beat) {
            gossip.set_application_score(&peer, -f64::from(points));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::limits::POINTS_MAX;

    #[test]
    fn the_parameters_agree_with_each_other() {
        parameters().validate().unwrap();
        THRESHOLDS.validate().unwrap();
        let most = f64::from(u32::try_from(POINTS_MAX).unwrap()) * parameters().app_specific_weight;
        assert!(-most > THRESHOLDS.graylist_threshold, "its last misdeed is seen");
    }
}
