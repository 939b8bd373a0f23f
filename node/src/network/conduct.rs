//! Who is kept away: peers that do not belong here, and peers that did what no honest one does.
//!
//! Each misdeed counts points, which pass with time. A peer with too many is disconnected and kept
//! away for a while, with one warning. Nobody else is told: what others say of a peer is no proof.

use std::{collections::BTreeMap, time::Duration};

use libp2p::PeerId;

use super::{
    Network,
    events::beats,
    limits::{KEPT_AWAY_FOR, MARKED_MAX, POINTS_MAX, SHUNNED_MAX, WARNING_INTERVAL},
    protocols::Stranger,
    rpc::Misdeed,
};

/// Nodes of another version that are reported, once each.
const OUTDATED_MAX: usize = 64;

/// How long a peer of another network is denied. It may be started again in this one.
const FOREIGN_BEATS: u64 = beats(Duration::from_mins(1));

/// How long a connection to such a peer stays open.
const FAREWELL_BEATS: u64 = 2;

/// How long a peer that misbehaved is denied.
const KEPT_AWAY_BEATS: u64 = beats(KEPT_AWAY_FOR);

/// Peers that are kept away.
#[derive(Debug, Default)]
pub(super) struct Shunned(BTreeMap<PeerId, Shun>);

/// From when to when a peer is denied, in beats.
#[derive(Debug, Clone, Copy)]
struct Shun {
    from: u64,
    until: u64,
}

impl Shunned {
    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }

    /// Keeps a peer away. Returns the one that is forgiven because there are too many.
    fn add(&mut self, peer: PeerId, from: u64, until: u64) -> Option<PeerId> {
        let oldest = || self.0.iter().min_by_key(|(_, shun)| shun.until).map(|(peer, _)| *peer);
        let forgiven = if self.0.len() >= SHUNNED_MAX { oldest() } else { None };
        if let Some(forgiven) = forgiven {
            self.0.remove(&forgiven);
        }
        self.0.insert(peer, Shun { from, until });
        forgiven.filter(|forgiven| *forgiven != peer)
    }
}

/// What is remembered of the conduct of peers.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    marks: BTreeMap<PeerId, Mark>,
    warnings: Warnings,
}

/// The points of a peer, as of a beat. They pass at one a second.
#[derive(Debug, Clone, Copy)]
struct Mark {
    points: u64,
    beat: u64,
}

impl Mark {
    fn at(self, beat: u64) -> u64 {
        self.points.saturating_sub((beat - self.beat) / beats(Duration::from_secs(1)))
    }
}

impl Conduct {
    /// The points of those who have any, and of those who have none any more.
    pub(super) fn points(&mut self, beat: u64) -> Vec<(PeerId, u32)> {
        let points = |mark: &Mark| u32::try_from(mark.at(beat)).unwrap_or(u32::MAX);
        let all = self.marks.iter().map(|(peer, mark)| (*peer, points(mark))).collect();
        self.marks.retain(|_, mark| mark.at(beat) > 0);
        all
    }

    /// Counts a misdeed; whether the peer has too many points now.
    fn count(&mut self, peer: PeerId, misdeed: Misdeed, beat: u64) -> bool {
        if self.marks.len() >= MARKED_MAX && !self.marks.contains_key(&peer) {
            self.marks.retain(|_, mark| mark.at(beat) > 0);
            let least = self.marks.iter().min_by_key(|(_, mark)| mark.at(beat));
            if let Some(least) = least.filter(|_| self.marks.len() >= MARKED_MAX) {
                let least = *least.0;
                self.marks.remove(&least);
            }
        }
        let mark = self.marks.entry(peer).or_insert(Mark { points: 0, beat });
        *mark = Mark { points: mark.at(beat) + points(misdeed), beat };
        let has_too_many = mark.points >= POINTS_MAX;
        if has_too_many {
            self.marks.remove(&peer);
        }
        has_too_many
    }
}

/// What a misdeed counts.
fn points(misdeed: Misdeed) -> u64 {
    match misdeed {
        Misdeed::Garbage | Misdeed::HalfFrame | Misdeed::Unread => 20,
        // It makes room at once.
        Misdeed::Follows => POINTS_MAX,
        // Slow links lose their room as well, when others need it.
        Misdeed::Recalled => 5,
    }
}

/// Lets one line through in a while, and counts the others.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    next: u64,
    unsaid: u64,
}

impl Warnings {
    /// How many were not said since the last one; none if this one is not to be said.
    pub(super) fn admit(&mut self, beat: u64) -> Option<u64> {
        if beat < self.next {
            self.unsaid += 1;
            return None;
        }
        self.next = beat + beats(WARNING_INTERVAL);
        Some(std::mem::take(&mut self.unsaid))
    }
}

impl Network {
    /// A peer did what no honest one does.
    pub(super) fn misbehaved(&mut self, peer: PeerId, misdeed: Misdeed) {
        tracing::debug!(%peer, ?misdeed, "a peer misbehaves");
        if !self.conduct.count(peer, misdeed, self.beat) {
            return;
        }
        if let Some(unsaid) = self.conduct.warnings.admit(self.beat) {
            let what = match misdeed {
                Misdeed::Garbage => "it sends what is no request",
                Misdeed::HalfFrame => "it sends parts of messages and not the rest",
                Misdeed::Unread => "it asks and does not read the answers",
                Misdeed::Follows => "it follows too many topics",
                Misdeed::Recalled => "it keeps memory that others need",
            };
            let minutes = KEPT_AWAY_FOR.as_secs() / 60;
            let more = match unsaid {
                0 => String::new(),
                unsaid => format!("; so are {unsaid} more"),
            };
            tracing::warn!("peer {peer} is kept away for {minutes} minutes: {what}{more}");
        }
        self.part_with(peer);
        self.keep_away(peer, self.beat, self.beat + KEPT_AWAY_BEATS);
        self.swarm.behaviour_mut().silent.blocked.block_peer(peer);
    }

    /// Disconnects a peer of another network and stays away from it for a while.
    pub(super) fn shun(&mut self, peer: PeerId, stranger: &Stranger) {
        self.part_with(peer);
        match self.bootstrap.refused(&peer, self.beat, &stranger.to_string()) {
            Some(line) => tracing::warn!("{line}"),
            // A node that mDNS has found may well be of another network, but of this one it should
            // speak the same version.
            None if matches!(stranger, Stranger::Version(_))
                && self.outdated.len() < OUTDATED_MAX
                && self.outdated.insert(peer) =>
            {
                tracing::warn!("node {peer} is not joined: {stranger}");
            }
            None => {}
        }
        // It has time to learn who this is, so that it knows as well why it cannot join.
        self.keep_away(peer, self.beat + FAREWELL_BEATS, self.beat + FOREIGN_BEATS);
    }

    fn keep_away(&mut self, peer: PeerId, from: u64, until: u64) {
        if let Some(forgiven) = self.shunned.add(peer, from, until) {
            self.swarm.behaviour_mut().silent.blocked.unblock_peer(forgiven);
        }
    }

    /// Ends the connections to peers that are kept away and denies further ones, as long as they
    /// are.
    pub(super) fn tend_shunned(&mut self) {
        let blocked = &mut self.swarm.behaviour_mut().silent.blocked;
        for (peer, _) in self.shunned.0.iter().filter(|(_, shun)| shun.from <= self.beat) {
            blocked.block_peer(*peer);
        }
        let forgiven = self.shunned.0.extract_if(.., |_, shun| shun.until <= self.beat);
        for (peer, _) in forgiven {
            blocked.unblock_peer(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_kept_away_after_too_many_misdeeds_and_points_pass() {
        let mut conduct = Conduct::default();
        let (often, seldom) = (PeerId::random(), PeerId::random());
        let many = POINTS_MAX / points(Misdeed::Garbage);
        for _ in 1..many {
            assert!(!conduct.count(often, Misdeed::Garbage, 0));
        }
        assert!(conduct.count(often, Misdeed::Garbage, 0));
        let pause = beats(Duration::from_secs(points(Misdeed::Garbage)));
        assert!((0..10 * many).all(|time| !conduct.count(seldom, Misdeed::Garbage, time * pause)));
    }

    #[test]
    fn the_worst_are_remembered() {
        let mut conduct = Conduct::default();
        let bad = PeerId::random();
        let before_last = POINTS_MAX / points(Misdeed::Garbage) - 1;
        assert!((0..before_last).all(|_| !conduct.count(bad, Misdeed::Garbage, 0)));
        for _ in 0..2 * MARKED_MAX {
            conduct.count(PeerId::random(), Misdeed::Recalled, 0);
        }
        assert!(conduct.marks.len() <= MARKED_MAX);
        assert!(conduct.count(bad, Misdeed::Garbage, 0));
    }

    #[test]
    fn one_line_is_let_through_at_a_time() {
        let mut warnings = Warnings::default();
        assert_eq!(warnings.admit(0), Some(0));
        assert_eq!((warnings.admit(0), warnings.admit(1)), (None, None));
        assert_eq!(warnings.admit(beats(WARNING_INTERVAL)), Some(2));
    }

    #[test]
    fn who_is_kept_away_for_longest_stays_so_when_there_are_too_many() {
        let mut shunned = Shunned::default();
        let (first, second) = (PeerId::random(), PeerId::random());
        shunned.add(first, 0, 7);
        shunned.add(second, 0, 1_000);
        for until in 0..SHUNNED_MAX as u64 {
            shunned.add(PeerId::random(), 0, 8 + until);
        }
        assert_eq!(shunned.0.len(), SHUNNED_MAX);
        assert!(!shunned.contains(&first) && shunned.contains(&second));
    }
}
