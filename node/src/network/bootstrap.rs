//! The nodes to join through. They are dialled while they are not connected: a node never gives up
//! joining its network. It reports what keeps it from joining, but not at each attempt.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

use super::{BEAT, translate::split_peer};

/// The bootstrap list of a node. Time is counted in [`BEAT`]s.
#[derive(Debug, Default)]
pub(super) struct Bootstrap {
    targets: Vec<Target>,
    /// Addresses with the node's own name.
    own: Vec<Multiaddr>,
}

/// One node to join through, or one address of any node.
#[derive(Debug)]
struct Target {
    /// The node that must be there; none if any node will do.
    wanted: Option<PeerId>,
    /// The node that was there last.
    found: Option<PeerId>,
    addresses: Vec<Multiaddr>,
    /// The attempt that is under way.
    dial: Option<ConnectionId>,
    /// The connection that it led to, while the node there is unknown.
    unknown: Option<ConnectionId>,
    /// When to dial next.
    due: u64,
    /// Beats between two attempts.
    pause: u64,
    /// Since when it is not connected; none while it is.
    since: Option<u64>,
    /// The last reported reason why it is not connected, and when.
    said: Option<(String, u64)>,
}

/// The node to dial, and its address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Its index in the list.
    pub(super) target: usize,
    /// The node that must be there, or was there last.
    pub(super) known: Option<PeerId>,
    /// The node that must be there.
    pub(super) wanted: Option<PeerId>,
    pub(super) addresses: Vec<Multiaddr>,
}

impl Bootstrap {
    /// The list, without the node itself: the same list may be given to all nodes.
    pub(super) fn new(addresses: Vec<Multiaddr>, local: PeerId) -> Self {
        let mut list = Self::default();
        for address in addresses {
            let (bare, wanted) = split_peer(address);
            if wanted == Some(local) {
                list.own.push(bare);
                continue;
            }
            let same = list
                .targets
                .iter_mut()
                .find(|target| target.wanted.is_some() && target.wanted == wanted);
            match same {
                Some(target) => target.addresses.push(bare),
                None => list.targets.push(Target::new(wanted, bare)),
            }
        }
        list
    }

    /// The addresses that name the node itself.
    pub(super) fn own(&self) -> &[Multiaddr] {
        &self.own
    }

    /// The addresses to join through.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &Multiaddr> {
        self.targets.iter().flat_map(|target| &target.addresses)
    }

    /// The node to dial now, and its address.
    pub(super) fn due(
        &mut self,
        beat: u64,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for (number, target) in self.targets.iter_mut().enumerate() {
            let known = target.wanted.or(target.found);
            if known.is_some_and(|peer| is_connected(&peer)) {
                (target.due, target.pause, target.since) = (0, beats(PAUSE_MIN), None);
            } else if target.dial.is_none() && target.due <= beat {
                target.due = beat + target.pause;
                target.pause = (target.pause * 2).min(beats(PAUSE_MAX));
                target.since.get_or_insert(beat);
                attempts.push(Attempt {
                    target: number,
                    known,
                    wanted: target.wanted,
                    addresses: target.addresses.clone(),
                });
            }
        }
        attempts
    }

    /// All are dialled at the next beat.
    pub(super) fn hurry(&mut self) {
        for target in &mut self.targets {
            (target.due, target.pause) = (0, beats(PAUSE_MIN));
        }
    }

    /// An attempt has begun.
    pub(super) fn dialling(&mut self, target: usize, connection: ConnectionId) {
        self.targets[target].dial = Some(connection);
    }

    /// A connection is open; true if it was an attempt to reach any node.
    pub(super) fn reached(&mut self, connection: ConnectionId, peer: PeerId) -> bool {
        let Some(target) = self.dialled(connection) else {
            return false;
        };
        target.dial = None;
        target.found = Some(peer);
        target.unknown = Some(connection);
        target.wanted.is_none()
    }

    /// An attempt failed, with the cause at each address. Returns what to report.
    pub(super) fn failed(
        &mut self,
        connection: ConnectionId,
        beat: u64,
        failures: &[(Option<Multiaddr>, String)],
    ) -> Option<String> {
        let target = self.dialled(connection)?;
        target.dial = None;
        target.complain(beat, GRACE, failures)
    }

    /// A connection was closed. Returns what to report.
    pub(super) fn closed(&mut self, connection: ConnectionId, beat: u64) -> Option<String> {
        let target = self.targets.iter_mut().find(|target| target.unknown == Some(connection))?;
        target.unknown = None;
        target.complain(beat, GRACE, &[(None, CLOSED.to_owned())])
    }

    /// A node that was reached cannot be joined through. Returns what to report.
    pub(super) fn refused(&mut self, peer: &PeerId, beat: u64, cause: &str) -> Option<String> {
        let target = self.targets.iter_mut().find(|target| target.is(peer))?;
        target.unknown = None;
        // Time changes nothing about that.
        target.complain(beat, Duration::ZERO, &[(None, cause.to_owned())])
    }

    /// Whether a node is one to join through.
    pub(super) fn names(&self, peer: &PeerId) -> bool {
        self.targets.iter().any(|target| target.is(peer))
    }

    /// A node of the network is connected. Returns what to report, if it was not connected before.
    pub(super) fn joined(&mut self, peer: &PeerId) -> Option<String> {
        let target = self.targets.iter_mut().find(|target| target.is(peer))?;
        (target.since, target.unknown) = (None, None);
        target.said.take()?;
        Some(format!("joined through {}", target.addresses[0]))
    }

    fn dialled(&mut self, connection: ConnectionId) -> Option<&mut Target> {
        self.targets.iter_mut().find(|target| target.dial == Some(connection))
    }
}

impl Target {
    fn new(wanted: Option<PeerId>, address: Multiaddr) -> Self {
        Self {
            wanted,
            found: None,
            addresses: vec![address],
            dial: None,
            unknown: None,
            due: 0,
            pause: beats(PAUSE_MIN),
            since: None,
            said: None,
        }
    }

    fn is(&self, peer: &PeerId) -> bool {
        self.wanted.or(self.found).as_ref() == Some(peer)
    }

    fn complain(
        &mut self,
        beat: u64,
        grace: Duration,
        failures: &[(Option<Multiaddr>, String)],
    ) -> Option<String> {
        let since = *self.since.get_or_insert(beat);
        let causes: Vec<String> = self
            .addresses
            .iter()
            .filter_map(|address| {
                let here = |(at, _): &&(Option<Multiaddr>, String)| {
                    at.as_ref().is_none_or(|at| at == address)
                };
                failures.iter().find(here).map(|(_, cause)| format!("{address}: {cause}"))
            })
            .collect();
        let text = causes.join("; ");
        let is_due = match &self.said {
            None => since + beats(grace) <= beat,
            Some((said, at)) => {
                let pause = if *said == text { REPEAT_INTERVAL } else { CHANGE_INTERVAL };
                at + beats(pause) <= beat
            }
        };
        if !is_due || text.is_empty() {
            return None;
        }
        let every = PAUSE_MAX.as_secs();
        let line = format!("cannot join through {text}; trying again every {every} s");
        self.said = Some((text, beat));
        Some(line)
    }
}

/// The report on a node that ends a connection before it has said what it is.
const CLOSED: &str = "the node there closes the connection: is it of this network and version?";

fn beats(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / BEAT.as_millis()).expect("a short time")
}

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A node that can be joined within this time is not reported: several may be starting together.
const GRACE: Duration = Duration::from_secs(2);

/// Time before another cause is reported.
const CHANGE_INTERVAL: Duration = Duration::from_mins(1);

/// Time before the same cause is reported again.
const REPEAT_INTERVAL: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn list(address: &str) -> Bootstrap {
        Bootstrap::new(vec![address.parse().unwrap()], PeerId::random())
    }

    /// Dials at each beat in which that is due, always with this outcome; what was said, and when.
    fn try_until(bootstrap: &mut Bootstrap, beats: std::ops::Range<u64>, cause: &str) -> Vec<u64> {
        let mut said = Vec::new();
        for beat in beats {
            for attempt in bootstrap.due(beat, |_| false) {
                bootstrap.dialling(attempt.target, connection(7));
                let failures = [(Some(attempt.addresses[0].clone()), cause.to_owned())];
                let line = bootstrap.failed(connection(7), beat, &failures);
                if let Some(line) = line {
                    assert!(line.contains(cause), "{line}");
                    said.push(beat);
                }
            }
        }
        said
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_begin_again_after_a_connection() {
        let peer = PeerId::random();
        let mut bootstrap = list(&format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}"));
        let mut attempts = Vec::new();
        for beat in 0..40 {
            attempts.extend(bootstrap.due(beat, |_| false).iter().map(|_| beat));
        }
        assert_eq!(attempts, [0, 2, 6, 14, 24, 34]);
        assert!(bootstrap.due(40, |_| true).is_empty());
        assert_eq!(bootstrap.due(41, |_| false).len(), 1);
        assert_eq!(bootstrap.due(43, |_| false).len(), 1);
        bootstrap.hurry();
        assert_eq!(bootstrap.due(44, |_| false).len(), 1);
    }

    #[test]
    fn no_second_attempt_begins_before_the_first_has_ended() {
        let mut bootstrap = list("/dns/example.org/tcp/1");
        assert_eq!(bootstrap.due(0, |_| false).len(), 1);
        bootstrap.dialling(0, connection(1));
        assert!(bootstrap.due(100, |_| false).is_empty());
        assert_eq!(bootstrap.failed(connection(2), 100, &[]), None);
        assert!(bootstrap.due(100, |_| false).is_empty());
        bootstrap.failed(connection(1), 100, &[(None, "refused".into())]);
        assert_eq!(bootstrap.due(100, |_| false).len(), 1);
    }

    #[test]
    fn what_keeps_a_node_from_joining_is_said_soon_and_then_rarely() {
        let mut bootstrap = list("/ip4/127.0.0.1/tcp/1");
        assert_eq!(try_until(&mut bootstrap, 0..1_300, "connection refused"), [6, 1_214]);
        // Another cause is said sooner.
        assert_eq!(try_until(&mut bootstrap, 1_300..1_400, "no answer"), [1_334]);
    }

    #[test]
    fn a_cause_names_each_address_and_joining_is_said_where_trouble_was() {
        let peer = PeerId::random();
        let address = |port| format!("/ip4/127.0.0.1/tcp/{port}/p2p/{peer}").parse().unwrap();
        let mut bootstrap = Bootstrap::new(vec![address(1), address(2)], PeerId::random());
        assert_eq!(bootstrap.joined(&peer), None, "there was no trouble");
        let attempts = bootstrap.due(0, |_| false);
        assert_eq!(attempts.len(), 1);
        bootstrap.dialling(0, connection(1));
        let at = |port: u16| Some(format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap());
        let failures = [(at(3), "x".into()), (at(2), "b".into()), (at(1), "a".into())];
        let line = bootstrap.failed(connection(1), 10, &failures).unwrap();
        let expected = "cannot join through /ip4/127.0.0.1/tcp/1: a; /ip4/127.0.0.1/tcp/2: b; \
                        trying again every 5 s";
        assert_eq!(line, expected);
        assert_eq!(bootstrap.joined(&PeerId::random()), None);
        let joined = bootstrap.joined(&peer);
        assert_eq!(joined.as_deref(), Some("joined through /ip4/127.0.0.1/tcp/1"));
        assert_eq!(bootstrap.joined(&peer), None, "once");
    }

    #[test]
    fn whatever_node_is_there_will_do_where_none_is_named() {
        let mut bootstrap = list("/dns/example.org/tcp/1");
        let attempts = bootstrap.due(0, |_| false);
        assert_eq!((attempts[0].known, attempts[0].wanted), (None, None));
        bootstrap.dialling(0, connection(1));
        let peer = PeerId::random();
        assert!(bootstrap.reached(connection(1), peer));
        assert!(bootstrap.due(1, |connected| *connected == peer).is_empty());
        assert!(bootstrap.refused(&peer, 1, "it is of another network").is_some(), "at once");
        assert!(bootstrap.refused(&peer, 20, "it is of another network").is_none(), "not so soon");
        // When it is gone there may be another one.
        let attempts = bootstrap.due(30, |_| false);
        assert_eq!((attempts[0].known, attempts[0].wanted), (Some(peer), None));
    }

    #[test]
    fn a_node_that_closes_the_connection_is_said_to_do_so() {
        let mut bootstrap = list("/ip4/127.0.0.1/tcp/1");
        let peer = PeerId::random();
        bootstrap.due(0, |_| false);
        bootstrap.dialling(0, connection(1));
        bootstrap.reached(connection(1), peer);
        assert_eq!(bootstrap.closed(connection(2), 10), None);
        assert!(bootstrap.closed(connection(1), 10).unwrap().contains("closes the connection"));
        // One that has joined may go.
        bootstrap.dialling(0, connection(3));
        bootstrap.reached(connection(3), peer);
        bootstrap.joined(&peer);
        assert_eq!(bootstrap.closed(connection(3), 5_000), None);
    }

    #[test]
    fn own_address_is_left_out() {
        let local = PeerId::random();
        let own = format!("/ip4/127.0.0.1/tcp/1/p2p/{local}").parse().unwrap();
        let bootstrap = Bootstrap::new(vec![own], local);
        assert!(bootstrap.targets.is_empty());
        assert_eq!(bootstrap.own().len(), 1);
        assert_eq!(bootstrap.addresses().count(), 0);
    }
}
