//! Where this node and the other home replicas have cut logs.
//!
//! This stays with the engine: it asks the replicas, and looks at what readers were told of them.

use std::collections::BTreeMap;

use crate::{
    engine::{
        Engine,
        holdings::{log::Log, placement::Placement},
        inflight::found::Found,
        survey::Then,
    },
    limits::{FOLLOW_SURVEY_INTERVAL, FRONTIER_LOGS_MAX, ODD_MEMBERS_FOR},
    model::{Entry, Hash, LogId, NodeId, Span, TopicId},
    wire::{LogRange, MemberState},
};

impl Engine {
    /// A home replica tells that it has cut logs: where that is news, all of them are asked.
    pub(in crate::engine) fn lows_told(
        &mut self,
        topic: TopicId,
        from: NodeId,
        entries: &BTreeMap<LogId, Entry>,
    ) {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return; // nothing is held of it
        };
        let is_news = |(log, entry): (&LogId, &Entry)| {
            let own = known.logs.get(log).map(|log| (log.low, log.base)).unwrap_or_default();
            (entry.low, entry.base) > own.max(known.told_low(log))
        };
        if entries.iter().any(is_news) && known.placement(&self.core.members).is_home(&from) {
            let now = self.core.now.elapsed;
            let is_believed =
                known.retention().is_some() && self.core.members.is_acquainted(now, &from);
            self.survey(topic, Then::Lows { asks_all: !is_believed });
        }
    }

    /// All home replicas have said where they have cut logs. Where none of them holds what is
    /// missing here below such a cut, it is not looked for any more; the word of one alone hides
    /// nothing that another one holds. Where this node holds what comes after the cut and nothing
    /// before it, the log is cut here, too. The cut must be [believed](Self::believed_low). Where
    /// it is not, every node must have said that it holds nothing of it, and nothing is cut.
    pub(in crate::engine) fn lows_found(&mut self, found: &Found) {
        let others = found.placement.home.iter().filter(|home| **home != self.core.me);
        let held: Option<Vec<_>> = others.map(|home| found.held.get(home)).collect();
        let is_exhaustive = self.is_exhaustive(found, ODD_MEMBERS_FOR);
        let known = self.core.topics.get(&found.topic);
        let (Some(held), Some(known)) = (held, known) else {
            return; // not all of them have answered
        };
        let mut lows: BTreeMap<LogId, (u64, Option<Hash>)> = BTreeMap::new();
        let mut cuts = Vec::new();
        for log in held.iter().flat_map(|held| held.frontier.0.keys()) {
            if lows.contains_key(log) || lows.len() >= FRONTIER_LOGS_MAX {
                continue;
            }
            let own = known.logs.get(log).map(Log::entry).unwrap_or_default();
            let entries: Vec<_> = held.iter().filter_map(|held| held.frontier.0.get(log)).collect();
            let holds = |entry: &Entry, low: u64| {
                let missing = own.missing(0, low);
                let is_missing = |span: &Span| {
                    missing.iter().any(|(from, to)| span.first < *to && *from < span.next)
                };
                entry.spans.iter().any(is_missing)
            };
            let is_nowhere = |low: u64| !entries.iter().any(|entry| holds(entry, low));
            let is_lacked_by_all = |low: u64| {
                let mut all = found.held.values().filter_map(|held| held.frontier.0.get(log));
                is_exhaustive && !all.any(|entry| holds(entry, low))
            };
            let is_believed = |low: u64| {
                let told = |home: &NodeId| Some(found.held.get(home)?.frontier.0.get(log)?.low);
                let has_limits = known.retention().is_some();
                low <= self.believed_low(&found.placement, has_limits, told)
            };
            let told = entries.iter().map(|entry| (entry.low, entry.base));
            let told = told.filter(|(low, base)| {
                (*low, *base) > (own.low, own.base)
                    && *low > 0
                    && is_nowhere(*low)
                    && (is_believed(*low) || is_lacked_by_all(*low))
            });
            let Some((low, base)) = told.max() else { continue };
            lows.insert(*log, (low, base));
            let follows = own.spans.first().is_some_and(|span| span.first >= low);
            if follows && found.placement.is_home(&self.core.me) && is_believed(low) {
                // Nothing is cut in two, so nobody asks for the batch that ends there.
                cuts.push((*log, low, base));
            }
        }
        for (log, low, base) in cuts {
            self.core.cut_log(found.topic, log, low, base);
        }
        if let Some(known) = self.core.topics.get_mut(&found.topic) {
            known.set_told_lows(lows);
        }
    }

    /// How far a log was trimmed, as far as the words of home replicas prove that. A topic that
    /// keeps all was trimmed as far as most of them say, each one that this node is acquainted
    /// with. Of a topic with limits each trims by itself: there the word of one such node is
    /// enough.
    ///
    /// Where this node is acquainted with nobody, as on the first day of a network, it believes in
    /// a topic with limits what all of its home replicas say.
    fn believed_low(
        &self,
        placement: &Placement,
        has_limits: bool,
        told: impl Fn(&NodeId) -> Option<u64>,
    ) -> u64 {
        let (members, now) = (&self.core.members, self.core.now.elapsed);
        let homes = placement.home.iter().filter(|home| members.is_acquainted(now, home));
        let mut lows: Vec<_> = homes.filter_map(&told).collect();
        lows.sort_unstable_by(|one, other| other.cmp(one));
        if !has_limits {
            return lows.get(placement.home.len() / 2).copied().unwrap_or(0);
        }
        let all = placement.home.iter().map(|home| told(home).unwrap_or(0)).min();
        let all = all.filter(|_| !members.is_any_acquainted(now));
        lows.first().copied().max(all).unwrap_or(0)
    }

    /// The highest low watermark of a log that this node has, or that is believed of home replicas:
    /// below it, somebody trimmed.
    pub(in crate::engine) fn known_low(&mut self, topic: TopicId, log: &LogId) -> u64 {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return 0; // nothing is held of it
        };
        let own = known.logs.get(log).map_or(0, |log| log.low);
        let has_limits = known.retention().is_some();
        let placement = known.placement(&self.core.members).clone();
        let view = self.read.views.get(&topic);
        let told = |home: &NodeId| {
            if *home == self.core.me {
                return Some(own);
            }
            view?.frontiers.get(home)?.0.get(log).map(|entry| entry.low)
        };
        self.believed_low(&placement, has_limits, told).max(own)
    }

    /// Whether the replicas have said lately what they hold of a topic.
    pub(in crate::engine) fn is_surveyed(&self, topic: TopicId) -> bool {
        let surveyed = self.read.views.get(&topic).and_then(|view| view.surveyed);
        surveyed.is_some_and(|at| self.core.now.elapsed.saturating_sub(at) < FOLLOW_SURVEY_INTERVAL)
    }

    /// The end of the trimmed part at the start of a range that nobody can give: where somebody
    /// holds something, or at the highest low watermark. Data that an unresponsive node reported is
    /// not treated as trimmed. A dead node is ignored if others have trimmed it.
    pub(in crate::engine) fn trimmed_to(&mut self, topic: TopicId, range: LogRange) -> Option<u64> {
        let low = self.known_low(topic, &range.log).min(range.to);
        let own = self.core.topics.get(&topic).and_then(|known| known.logs.get(&range.log));
        let own = own.map(Log::entry);
        let view = self.read.views.get(&topic);
        let others = view.into_iter().flat_map(|view| &view.frontiers);
        let others =
            others.filter(|(node, _)| self.core.members.state(node) <= MemberState::Suspect);
        let others = others.filter_map(|(_, held)| held.0.get(&range.log));
        let mut spans = own.iter().chain(others).flat_map(|entry| &entry.spans);
        let holds = |span: &Span| span.first <= range.from && range.from < span.next;
        if low <= range.from || spans.clone().any(holds) {
            return None;
        }
        let later = spans.by_ref().map(|span| span.first).filter(|first| *first > range.from).min();
        Some(later.map_or(low, |first| first.min(low)))
    }
}
