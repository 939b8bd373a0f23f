//! What a node says of the others that come and go: few lines, whatever they do.
//!
//! Changes are gathered for a moment, and what has come back by then was never said to be away.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    time::Duration,
};

use antiphon::{
    limits::MEMBERS_MAX,
    model::{NodeId, TopicName},
    wire::MemberState,
};

/// Collects what a node says of the other nodes, and of the topics that they took over.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// Who is here, and who was here and is away, as it is.
    here: BTreeMap<NodeId, bool>,
    /// The same as it was said.
    said: BTreeMap<NodeId, bool>,
    /// Topics whose records were all handed over.
    handed_over: BTreeSet<String>,
    /// When the next is said; none where there is nothing to say.
    due: Option<Duration>,
    /// Not before then.
    earliest: Duration,
}

/// A line, and whether it is a warning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) is_warning: bool,
}

/// Time in which changes are gathered: several nodes are often started or stopped together.
const GATHERING: Duration = Duration::from_secs(1);

/// Shortest time from one report to the next: each is a few lines, and a node that comes and goes
/// all the time is no reason for more.
const INTERVAL: Duration = Duration::from_secs(15);

/// Names in one line.
const NAMES_MAX: usize = 3;

/// Characters of a short peer id.
const SHORT: usize = 8;

/// Topics whose names are gathered. More are not said.
const TOPICS_MAX: usize = 1_000;

impl Notices {
    /// The state of a node has changed. One that is suspect is given time.
    pub(super) fn member(&mut self, node: NodeId, state: MemberState, now: Duration) {
        let changed = match state {
            MemberState::Alive if self.here.len() < MEMBERS_MAX => {
                self.here.insert(node, true) != Some(true)
            }
            MemberState::Alive | MemberState::Suspect => false,
            MemberState::Gone => self.here.remove(&node).is_some(),
            MemberState::Dead => {
                self.here.get_mut(&node).is_some_and(|here| std::mem::replace(here, false))
            }
        };
        if changed {
            self.gather(now);
        }
    }

    /// Other nodes hold all that this one held of a topic.
    pub(super) fn handed_over(&mut self, topic: Option<&TopicName>, now: Duration) {
        if let Some(topic) = topic.filter(|_| self.handed_over.len() < TOPICS_MAX) {
            self.handed_over.insert(format!("`{topic}`"));
            self.gather(now);
        }
    }

    fn gather(&mut self, now: Duration) {
        self.due.get_or_insert_with(|| (now + GATHERING).max(self.earliest));
    }

    /// The notices that are due now.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Notice> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.due = None;
        let mut notices = Vec::new();
        self.say_members(&mut notices);
        if !self.handed_over.is_empty() {
            let topics = list(&std::mem::take(&mut self.handed_over));
            notices
                .push(Notice::of(format!("other nodes hold all that this one held of {topics}")));
        }
        if !notices.is_empty() {
            self.earliest = now + INTERVAL;
        }
        notices
    }

    fn say_members(&mut self, notices: &mut Vec<Notice>) {
        let count =
            |members: &BTreeMap<NodeId, bool>| members.values().filter(|here| **here).count();
        let (before, after) = (count(&self.said), count(&self.here));
        let changed = |was: Option<bool>, is: bool| {
            let said = |node: &NodeId| self.said.get(node).copied();
            let nodes = self.here.iter().filter(|(node, here)| **here == is && said(node) == was);
            nodes.map(|(node, _)| short(*node)).collect::<BTreeSet<_>>()
        };
        let (new, back, away) =
            (changed(None, true), changed(Some(false), true), changed(Some(true), false));
        if !away.is_empty() {
            let verb = if away.len() == 1 { "is" } else { "are" };
            notices.push(Notice::of(format!("{} {verb} away", nodes(&away))));
        }
        if before == 0 && after > 0 {
            let others =
                if after == 1 { "1 other node".into() } else { format!("{after} other nodes") };
            notices.push(Notice::of(format!("joined: {others}")));
        } else {
            if !new.is_empty() {
                let verb = if new.len() == 1 { "has" } else { "have" };
                notices.push(Notice::of(format!("{} {verb} joined", nodes(&new))));
            }
            if !back.is_empty() {
                let verb = if back.len() == 1 { "is" } else { "are" };
                notices.push(Notice::of(format!("{} {verb} back", nodes(&back))));
            }
        }
        if before > 0 && after == 0 {
            let text = "no other node answers: this one is alone".to_owned();
            notices.push(Notice { text, is_warning: true });
        }
        // Those that are away are remembered, to be told from new ones when they are back.
        self.said.clone_from(&self.here);
    }
}

impl Notice {
    fn of(text: String) -> Self {
        Self { text, is_warning: false }
    }
}

/// A peer id as people tell nodes apart: its last characters, as in the tables of the command.
fn short(node: NodeId) -> String {
    let name = node.to_string();
    name[name.len() - SHORT..].to_owned()
}

fn nodes(names: &BTreeSet<String>) -> String {
    match names.len() {
        1 => format!("node {}", list(names)),
        count => format!("{count} nodes ({})", list(names)),
    }
}

fn list<T: Display + Ord>(names: &BTreeSet<T>) -> String {
    let mut listed: Vec<String> = names.iter().take(NAMES_MAX).map(ToString::to_string).collect();
    if names.len() > NAMES_MAX {
        listed.push(format!("{} more", names.len() - NAMES_MAX));
    }
    match listed.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => listed.concat(),
    }
}

#[cfg(test)]
mod tests {
    use MemberState::{Alive, Dead, Suspect};
    use antiphon::model::NodeKey;

    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn node(seed: u8) -> NodeId {
        NodeKey::from_secret(&[seed; 32]).node()
    }

    /// Hands in changes at a second; what is said at another one.
    fn said(
        notices: &mut Notices,
        at: u64,
        changes: &[(u8, MemberState)],
        then: u64,
    ) -> Vec<String> {
        for (seed, state) in changes {
            notices.member(node(*seed), *state, seconds(at));
        }
        notices.due(seconds(then)).into_iter().map(|notice| notice.text).collect()
    }

    #[test]
    fn nodes_that_come_together_are_one_line() {
        let mut notices = Notices::default();
        assert!(said(&mut notices, 0, &[(1, Alive)], 0).is_empty());
        assert_eq!(said(&mut notices, 0, &[(2, Alive)], 1), ["joined: 2 other nodes"]);
        let one = short(node(3));
        assert!(said(&mut notices, 2, &[(3, Alive)], 3).is_empty(), "not so soon");
        assert_eq!(said(&mut notices, 2, &[], 16), [format!("node {one} has joined")]);
        let more: Vec<_> = (4..8).map(|seed| (seed, Alive)).collect();
        let lines = said(&mut notices, 40, &more, 41);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("4 nodes ("), "{lines:?}");
        assert!(lines[0].ends_with(" and 1 more) have joined"), "{lines:?}");
    }

    #[test]
    fn nodes_go_come_back_and_leave_this_one_alone() {
        let mut notices = Notices::default();
        let one = short(node(1));
        said(&mut notices, 0, &[(1, Alive), (2, Alive)], 1);
        assert_eq!(said(&mut notices, 20, &[(1, Dead)], 21), [format!("node {one} is away")]);
        assert_eq!(said(&mut notices, 40, &[(1, Alive)], 41), [format!("node {one} is back")]);
        let lines = said(&mut notices, 60, &[(1, Dead), (2, Dead)], 61);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1], "no other node answers: this one is alone");
        assert_eq!(said(&mut notices, 80, &[(2, Alive)], 81), ["joined: 1 other node"]);
    }

    #[test]
    fn a_short_absence_is_not_said() {
        let mut notices = Notices::default();
        said(&mut notices, 0, &[(1, Alive)], 1);
        assert!(said(&mut notices, 20, &[(1, Suspect)], 30).is_empty());
        assert!(said(&mut notices, 40, &[(1, Dead), (1, Alive)], 41).is_empty());
    }

    #[test]
    fn topics_that_were_handed_over_are_named() {
        let mut notices = Notices::default();
        for name in ["a", "b", "c", "d"] {
            notices.handed_over(Some(&name.parse().unwrap()), seconds(0));
        }
        notices.handed_over(None, seconds(0));
        let lines = said(&mut notices, 0, &[], 1);
        assert_eq!(lines, ["other nodes hold all that this one held of `a`, `b`, `c` and 1 more"]);
    }
}
