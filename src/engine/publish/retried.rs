//! Dedup searches: a publish that may be a repetition is looked for at the replicas before it is
//! sealed.
//!
//! Each replica that holds the records says where, flushed, so it is a copy like one that gave a
//! receipt. Copies of one place are counted, and only those with everything before them in the log:
//! an acknowledgement covers that, too.
//! - With enough copies, the publish is a duplicate.
//! - If enough home replicas answered and none holds it, or not enough of them can be reached, it
//!   is taken for new. Readers drop a second copy.
//!
//! The word of a node that is not acquainted is not enough. So this node fetches the records from
//! it, and keeps a copy. Who cannot show them is taken not to hold them.
//!
//! If a record with a dedup id has too few copies, the replicas are asked again, until there are
//! enough or the publisher's time is over. All other records are sealed again then: their publisher
//! repeats itself because a node failed, and must not wait for repair.

mod showing;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use super::{
    outgoing::{Unacknowledged, Waiting},
    recent::{Seeker, is_given},
};
use crate::{
    engine::{
        Engine,
        holdings::placement::Placement,
        ids::{SearchId, WriteNumber},
        inflight::asks::Purpose,
        input::Failure,
        numbered::Numbered,
    },
    limits::{FIND_TIMEOUT, SEARCHES_MAX, TICK},
    model::{LogId, NodeId, Run, TopicId},
    wire::{LogRange, NodeRequest, Published, Refusal, Request, Response, Whereabouts, small},
};

/// How often the replicas are asked again whether there are more copies by now.
const AGAIN_INTERVAL: Duration = Duration::from_millis(200);

/// How long the last of the replicas are waited for when enough of them have answered.
const GRACE: Duration = Duration::from_millis(100);

/// The same for what has no given id: a copy more would make it a duplicate, and that is all.
const GRACE_UNNAMED: Duration = Duration::from_millis(20);

/// A publish that is looked for.
#[derive(Debug)]
struct Search {
    topic: TopicId,
    run: Run,
    records: Bytes,
    waiting: Vec<Waiting>,
    /// How often the replicas were asked before, and when they were asked last.
    round: u32,
    began: Duration,
    /// All who were asked in this round.
    reached: BTreeSet<NodeId>,
    /// Who was asked and has not answered, and what the others said.
    asked: BTreeSet<NodeId>,
    told: BTreeMap<NodeId, Option<Whereabouts>>,
    /// Who is being asked to show the records, who was asked, and who of these did not.
    showing: Option<NodeId>,
    asked_to_show: BTreeSet<NodeId>,
    unshown: BTreeSet<NodeId>,
    /// Whether this node or one that is acquainted has said in any round that it is there.
    was_found: bool,
    /// Whether somebody that is taken for a home has not said in this round whether it is there.
    is_unsure: bool,
    again_at: Option<Duration>,
}

/// The searches under way.
#[derive(Debug, Default)]
pub(super) struct State {
    searches: Numbered<SearchId, Search>,
    /// What this node itself holds counts once it is flushed: of which search and round, and where.
    unflushed: VecDeque<(WriteNumber, SearchId, u32, Option<Whereabouts>)>,
}

impl State {
    /// Bytes of the records that are looked for.
    #[cfg(debug_assertions)]
    pub(super) fn bytes(&self) -> usize {
        self.searches.values().map(|search| search.records.len()).sum()
    }
}

/// Copies of the records at one place.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Copies {
    /// Those that have all of the log before them as well.
    whole: usize,
    all: usize,
    /// How many of all are at stand-ins.
    stand_ins: usize,
    /// How many of the whole ones are at nodes that are acquainted.
    vouched: usize,
}

/// The most copies that any one place has.
fn count(
    told: &BTreeMap<NodeId, Option<Whereabouts>>,
    placement: &Placement,
    is_acquainted: impl Fn(&NodeId) -> bool,
) -> Copies {
    let mut places: BTreeMap<(LogId, u64), Copies> = BTreeMap::new();
    for (node, place) in told {
        let is_home = placement.is_home(node);
        if let Some(Whereabouts { log, first, whole }) = place
            && (is_home || placement.acting.contains(node))
        {
            let copies = places.entry((*log, *first)).or_default();
            copies.whole += usize::from(*whole);
            copies.vouched += usize::from(*whole && is_acquainted(node));
            copies.all += 1;
            copies.stand_ins += usize::from(!is_home);
        }
    }
    places.into_values().max().unwrap_or_default()
}

/// Whether the records of one run are among those of another one.
fn holds(run: &Run, part: &Run) -> bool {
    let end = |run: &Run| run.first.saturating_add(u64::from(run.count));
    run.producer == part.producer && run.first <= part.first && end(part) <= end(run)
}

impl Engine {
    /// Recognises a request whose records are queued here or under way: it waits for the same
    /// batch. Whether it was.
    ///
    /// What was acknowledged or answered as pending is looked for like what another node sealed.
    pub(super) fn join_earlier(&mut self, topic: TopicId, run: Run, waiting: &Waiting) -> bool {
        let Some(outgoing) = self.publish.topics.get_mut(&topic) else {
            return false;
        };
        if let Some(queued) = outgoing.queued.iter_mut().find(|queued| queued.runs == [run]) {
            queued.waiting.push(Waiting { duplicate: true, ..waiting.clone() });
            return true;
        }
        let is_in = |sealed: &&mut Unacknowledged| {
            sealed.batch.header().runs.iter().any(|sealed| holds(sealed, &run))
        };
        let Some(sealed) = outgoing.unacknowledged.iter_mut().find(is_in) else {
            return false;
        };
        sealed.waiting.push(Waiting { duplicate: true, ..waiting.clone() });
        self.settle(topic);
        true
    }

    /// Looks for records that may be there before they are sealed.
    pub(super) fn search(&mut self, topic: TopicId, run: Run, records: Bytes, waiting: Waiting) {
        let searches = &mut self.publish.retried.searches;
        let same = |search: &&mut Search| search.topic == topic && search.run == run;
        if let Some(earlier) = searches.values_mut().find(same) {
            earlier.waiting.push(Waiting { duplicate: true, ..waiting });
            return;
        }
        if searches.len() >= SEARCHES_MAX || self.is_busy_with(records.len()) {
            return self.core.refuse(waiting.question, Refusal::Busy);
        }
        self.publish.bytes += records.len();
        let number = self.publish.retried.searches.insert(Search {
            topic,
            run,
            records,
            waiting: vec![waiting],
            round: 0,
            began: Duration::ZERO,
            reached: BTreeSet::new(),
            asked: BTreeSet::new(),
            told: BTreeMap::new(),
            showing: None,
            asked_to_show: BTreeSet::new(),
            unshown: BTreeSet::new(),
            was_found: false,
            is_unsure: false,
            again_at: None,
        });
        self.ask_whereabouts(number);
    }

    /// Asks the replicas of now, and this node's own memory.
    fn ask_whereabouts(&mut self, number: SearchId) {
        // The search ended meanwhile.
        let Some(search) = self.publish.retried.searches.get_mut(number) else {
            return;
        };
        let Some(known) = self.core.topics.get_mut(&search.topic) else {
            return;
        };
        let placement = known.placement(&self.core.members);
        let connected =
            |node: &NodeId| *node != self.core.me && self.core.members.is_connected(node);
        let others: Vec<_> = placement.all().filter(connected).collect();
        search.round += 1;
        search.began = self.core.now.elapsed;
        search.again_at = None;
        search.is_unsure = false;
        search.told.clear();
        search.reached = others.iter().copied().chain([self.core.me]).collect();
        search.asked.clone_from(&search.reached);
        let (topic, run, round) = (search.topic, search.run, search.round);
        for node in others {
            let request = Request::Node(NodeRequest::Find(topic, vec![run]));
            self.core.ask(node, request, FIND_TIMEOUT, Purpose::Find(number, round));
        }
        self.find_recent(topic, Seeker::Search(number));
    }

    /// This node knows by now whether it holds what is looked for.
    pub(in crate::engine) fn search_told_here(&mut self, number: SearchId) {
        // The search ended meanwhile.
        let Some(search) = self.publish.retried.searches.get(number) else {
            return;
        };
        let (topic, run, round) = (search.topic, search.run, search.round);
        // What is written while that is flushed is another matter.
        let place = self.find_here(topic, &run);
        if let Some(write) = self.core.unflushed() {
            return self.publish.retried.unflushed.push_back((write, number, round, place));
        }
        self.search_told(number, round, self.core.me, place);
    }

    pub(super) fn searches_flushed(&mut self) {
        while let Some((_, number, round, place)) =
            self.publish.retried.unflushed.pop_front_if(|(write, ..)| *write <= self.core.durable)
        {
            self.search_told(number, round, self.core.me, place);
        }
    }

    /// A replica has answered.
    pub(in crate::engine) fn found(
        &mut self,
        number: SearchId,
        round: u32,
        node: NodeId,
        result: Result<Response, Failure>,
    ) {
        match result {
            Ok(Response::Whereabouts(places)) if places.len() == 1 => {
                let place = places.into_iter().next().flatten();
                self.search_told(number, round, node, place);
            }
            other => {
                let searches = &mut self.publish.retried.searches;
                let search = searches.get_mut(number).filter(|search| search.round == round);
                let Some(search) = search else { return };
                search.asked.remove(&node);
                let known = self.core.topics.get_mut(&search.topic);
                let is_home =
                    known.is_some_and(|it| it.placement(&self.core.members).is_home(&node));
                search.is_unsure |= is_home && matches!(other, Ok(Response::Refused(_)));
                self.settle_search(number);
            }
        }
    }

    fn search_told(
        &mut self,
        number: SearchId,
        round: u32,
        node: NodeId,
        place: Option<Whereabouts>,
    ) {
        let searches = &mut self.publish.retried.searches;
        let Some(search) = searches.get_mut(number).filter(|search| search.round == round) else {
            return;
        };
        search.asked.remove(&node);
        let place = place.filter(|_| !search.unshown.contains(&node));
        // A pending record is on some disk. The word of a stranger is not enough for that.
        let is_known = self.core.members.is_acquainted(self.core.now.elapsed, &node);
        search.was_found |= is_known && place.is_some();
        search.told.insert(node, place);
        self.have_shown(number);
        self.settle_search(number);
    }

    /// Answers, seals or goes on, by what is known so far.
    fn settle_search(&mut self, number: SearchId) {
        let now = self.core.now.elapsed;
        // The search ended meanwhile.
        let Some(search) = self.publish.retried.searches.get_mut(number) else {
            return;
        };
        let Some(known) = self.core.topics.get_mut(&search.topic) else {
            return;
        };
        let replicas = known.replicas();
        let placement = known.placement(&self.core.members).clone();
        let quorum = known.quorum(&self.core.members);
        let (members, elapsed) = (&self.core.members, self.core.now.elapsed);
        let is_acquainted = |node: &NodeId| members.is_acquainted(elapsed, node);
        let copies = count(&search.told, &placement, is_acquainted);
        let is_here = search.told.get(&self.core.me).is_some_and(Option::is_some);
        let is_found = search.told.values().any(Option::is_some);
        let waits = is_given(&search.run) && search.was_found;
        let place = search.told.values().flatten().next().map(|found| LogRange {
            log: found.log,
            from: found.first,
            to: found.first.saturating_add(u64::from(search.run.count)),
        });
        let mut answers = Vec::new();
        search.waiting.retain(|waiting| {
            let wanted = known.wanted(&self.core.members, waiting.acks);
            let is_vouched = is_here || copies.vouched >= wanted;
            let acknowledged = is_found && copies.whole >= wanted && is_vouched;
            let over = waits && waiting.deadline <= now;
            if acknowledged || over {
                // Of what is pending it is told how many copies there are of itself.
                let told = if acknowledged { copies.whole } else { copies.all };
                let published = Published {
                    acknowledged,
                    copies: small(told),
                    stand_ins: small(copies.stand_ins.min(told)),
                    replicas,
                    wanted: small(wanted),
                    duplicate: true,
                    place: place.filter(|_| !acknowledged),
                    too_few_nodes: !acknowledged && placement.acting.len() < wanted,
                };
                answers.push((waiting.question, published));
            }
            !acknowledged && !over
        });
        let age = now.saturating_sub(search.began);
        let all_in = search.asked.is_empty();
        let is_done = search.waiting.is_empty();
        let answered = placement.home.iter().filter(|home| search.told.contains_key(home)).count();
        let enough = answered + quorum > placement.home.len();
        let is_told = all_in || age >= FIND_TIMEOUT;
        let is_showing = search.showing.is_some();
        let may_seal = if waits {
            !is_found && is_told && !is_showing
        } else {
            let is_last_moment =
                search.waiting.iter().any(|waiting| waiting.deadline <= now + TICK);
            let given = is_given(&search.run);
            let grace = if given { GRACE } else { GRACE_UNNAMED };
            let is_plain = !is_found && !given;
            // A home that could not be asked can be now, or others are homes by now.
            let is_new = |home: &NodeId| {
                self.core.members.is_connected(home) && !search.reached.contains(home)
            };
            // Or this node learns of other homes in a moment.
            let is_unsure = given && (search.is_unsure || placement.home.iter().any(is_new));
            is_last_moment
                || !is_unsure && !is_showing && (is_told || enough && (is_plain || age >= grace))
        };
        if is_told && search.again_at.is_none() {
            search.again_at = Some((search.began + AGAIN_INTERVAL).max(now));
        }
        // What this node itself is to hold it can have at once, and that is one copy more.
        let lacks_here = search.told.get(&self.core.me).is_some_and(Option::is_none);
        let fetches = is_found && waits && search.round == 1 && lacks_here && all_in;
        if is_done || may_seal {
            self.end_search(number);
        }
        if fetches && !is_done && placement.is_home(&self.core.me) {
            self.repair_soon();
        }
        self.answer_publishers(answers);
    }

    /// Seals what was not found, if anybody waits for it.
    fn end_search(&mut self, number: SearchId) {
        // The search ended meanwhile.
        let Some(search) = self.publish.retried.searches.remove(number) else {
            return;
        };
        self.publish.bytes -= search.records.len();
        if search.waiting.is_empty() {
            return;
        }
        if !self.core.room {
            for Waiting { question, .. } in search.waiting {
                self.core.refuse(question, Refusal::Full(None));
            }
            return;
        }
        self.enqueue(search.topic, search.run, search.records, search.waiting);
    }

    pub(super) fn tick_searches(&mut self) {
        let now = self.core.now.elapsed;
        for number in self.publish.retried.searches.ids() {
            self.settle_search(number);
            let search = self.publish.retried.searches.get(number);
            if search.is_some_and(|search| search.again_at.is_some_and(|at| at <= now)) {
                self.ask_whereabouts(number);
            }
        }
    }

    /// Ends the searches in a topic; those who wait for them.
    pub(super) fn stop_searches(&mut self, topic: TopicId) -> Vec<Waiting> {
        let searches = &mut self.publish.retried.searches;
        let stopped = searches.extract(|search| search.topic == topic);
        self.publish.bytes -= stopped.iter().map(|search| search.records.len()).sum::<usize>();
        stopped.into_iter().flat_map(|search| search.waiting).collect()
    }

    /// Whether anything of a topic is looked for.
    pub(super) fn is_searching(&self, topic: &TopicId) -> bool {
        self.publish.retried.searches.values().any(|search| search.topic == *topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProducerId;

    #[test]
    fn a_run_holds_its_parts_and_nothing_else() {
        let run =
            |producer: u8, first, count| Run { producer: ProducerId([producer; 16]), first, count };
        let sealed = run(1, 4, 6);
        assert!([run(1, 4, 6), run(1, 4, 1), run(1, 9, 1)].iter().all(|part| holds(&sealed, part)));
        let others = [run(2, 4, 6), run(1, 3, 2), run(1, 9, 2), run(1, u64::MAX, 1)];
        assert!(!others.iter().any(|part| holds(&sealed, part)));
    }
}
