//! Which member of a group gets which records, and what follows from its answers: without messages.
//!
//! Records come in the order in which readers are shown them. One without a key goes to the member
//! that asks first. One with a key goes to a member only if all earlier records of that key are
//! acknowledged or with the same member. So a key is with one member at a time, in order. A record
//! that is not acknowledged in time, or rejected, is given out again before what follows it.
//!
//! Members hold several records at a time, and one that crashes fails all of them. So that no
//! record is blamed for another, the last deliveries are made one by one.

mod entry;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use self::entry::{Entry, With};
use crate::{
    limits::{GROUP_IDLE, GROUP_MEMBERS_MAX, GROUP_RECORDS_MAX, GROUP_RUNS_MAX, REASON_BYTES_MAX},
    model::{Batch, Cursor, Deliveries, LogId, MemberId, Position, Progress, Runs, Subscription},
    wire::{Assignment, LogRange, Rejection},
};

/// From this delivery on, records are given out one by one, if they may have that many.
const ALONE_FROM: u32 = 3;

const NOT_IN_TIME: &str = "not acknowledged in time";
const LOST: &str = "the member that had it was lost, or the node that coordinates the group";

/// What a member takes at most, and on which terms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) turn: u64,
    pub(super) records_max: usize,
    pub(super) bytes_max: usize,
    pub(super) visibility: Duration,
    pub(super) deliveries_max: u32,
}

#[derive(Debug, Default)]
struct Member {
    seen: Duration,
    has: BTreeSet<u64>,
}

/// The records of a group between its position and what was read.
#[derive(Debug)]
pub(super) struct Dispatch {
    generation: u64,
    /// Up to where the topic was read.
    read: Cursor,
    /// What is not acknowledged, in the order in which it is given out.
    entries: BTreeMap<u64, Entry>,
    next: u64,
    places: BTreeMap<(LogId, u64), u64>,
    ready: BTreeSet<u64>,
    /// When entries that wait, or are with a member, are ready again.
    due: BTreeSet<(Duration, u64)>,
    keys: BTreeMap<u64, BTreeSet<u64>>,
    members: BTreeMap<MemberId, Member>,
    done: BTreeMap<LogId, Runs>,
    given: BTreeMap<LogId, u64>,
    /// What was known of it when this node took it over.
    taken_over: Progress,
    /// Until when members may say that they have records that were given out before that.
    grace_until: Duration,
    /// What they have said they have that was not read yet, and until when they may.
    claimed: BTreeMap<(LogId, u64), (MemberId, Duration)>,
}

impl Dispatch {
    pub(super) fn new(subscription: &Subscription, read: Cursor, grace_until: Duration) -> Self {
        let taken_over = subscription.group.as_deref().cloned().unwrap_or_default();
        Self {
            generation: subscription.generation,
            read,
            entries: BTreeMap::new(),
            next: 0,
            places: BTreeMap::new(),
            ready: BTreeSet::new(),
            due: BTreeSet::new(),
            keys: BTreeMap::new(),
            members: BTreeMap::new(),
            done: taken_over.done.clone(),
            given: taken_over.given.clone(),
            taken_over,
            grace_until,
            claimed: BTreeMap::new(),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn read(&self) -> &Cursor {
        &self.read
    }

    /// Records that are not acknowledged.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes in the records of a batch that follows what was read.
    pub(super) fn push(&mut self, now: Duration, batch: &Batch) {
        let log = batch.log();
        let header = batch.header();
        let mut before = header.previous.map(|previous| previous.hash);
        for (number, _, record) in batch.numbered_records() {
            let Ok(record) = record else { break };
            let is_done = self.done.get(&log).is_some_and(|runs| runs.contains(number));
            if number >= self.read.next(&log) && !is_done {
                let deliveries = self.taken_over.deliveries(&log, number);
                let key = record.key.as_ref().map(|key| entry::hash_of(key));
                let bytes = record.size_bytes();
                let with = match self.claimed.remove(&(log, number)) {
                    Some((member, until)) => With::Member { member, turn: None, until },
                    None if deliveries > 0 && now < self.grace_until => {
                        With::Missing { until: self.grace_until }
                    }
                    None => With::Nobody,
                };
                let entry = Entry { log, number, before, key, bytes, deliveries, why: None, with };
                self.put(entry);
            }
            before = Some(batch.hash());
        }
        self.read.advance(batch);
    }

    fn put(&mut self, entry: Entry) {
        let serial = self.next;
        self.next += 1;
        self.places.insert((entry.log, entry.number), serial);
        if let Some(member) = entry.with.member() {
            self.members.entry(member).or_default().has.insert(serial);
        }
        if let Some(key) = entry.key {
            self.keys.entry(key).or_default().insert(serial);
        }
        match entry.with.until() {
            Some(until) => drop(self.due.insert((until, serial))),
            None => drop(self.ready.insert(serial)),
        }
        self.entries.insert(serial, entry);
    }

    /// A member is there; whether there is room for it.
    pub(super) fn meet(&mut self, now: Duration, member: MemberId) -> bool {
        let full = self.members.len() >= GROUP_MEMBERS_MAX;
        if full && !self.members.contains_key(&member) {
            return false;
        }
        self.members.entry(member).or_default().seen = now;
        true
    }

    /// A member says what it has. Of what was given out before this node took the group over, that
    /// is how it learns who has it.
    pub(super) fn claim(&mut self, member: MemberId, holding: &[LogRange], until: Duration) {
        for range in holding {
            for serial in self.serials(range) {
                let missing = |entry: &Entry| matches!(entry.with, With::Missing { .. });
                if self.entries.get(&serial).is_some_and(missing) {
                    self.set(serial, With::Member { member, turn: None, until });
                }
            }
            let given = self.taken_over.given.get(&range.log).copied().unwrap_or_default();
            let unread = range.from.max(self.read.next(&range.log))..range.to.min(given);
            let room = GROUP_RECORDS_MAX.saturating_sub(self.claimed.len());
            for number in unread.take(room) {
                self.claimed.insert((range.log, number), (member, until));
            }
        }
    }

    /// Records for a member.
    pub(super) fn give(
        &mut self,
        now: Duration,
        member: MemberId,
        terms: Terms,
    ) -> Vec<Assignment> {
        let again = self.given_in(member, terms.turn);
        if !again.is_empty() {
            return assignments(again.iter().filter_map(|serial| self.entries.get(serial)), terms);
        }
        // What is there is divided among all who are.
        let share = self.ready.len().div_ceil(self.members.len().max(1));
        let records_max = terms.records_max.min(share);
        let mut bytes = 0;
        let mut taken: Vec<u64> = Vec::new();
        let mut from = 0;
        while let Some(serial) = self.ready.range(from..).next().copied() {
            from = serial + 1;
            if taken.len() >= records_max || bytes >= terms.bytes_max {
                break;
            }
            if !self.may_have(member, serial) {
                continue;
            }
            let Some(entry) = self.entries.get_mut(&serial) else { continue };
            let alone = entry.deliveries + 1 >= terms.deliveries_max.min(ALONE_FROM);
            if alone && !taken.is_empty() {
                break;
            }
            if entry.deliveries <= terms.deliveries_max {
                // One more than all that it is to have says that it is to be buried.
                entry.deliveries += 1;
            }
            bytes += entry.bytes;
            let given = self.given.entry(entry.log).or_default();
            *given = (*given).max(entry.number + 1);
            taken.push(serial);
            let until = now + terms.visibility;
            self.set(serial, With::Member { member, turn: Some(terms.turn), until });
            if alone {
                break;
            }
        }
        assignments(taken.iter().filter_map(|serial| self.entries.get(serial)), terms)
    }

    /// Whether all records of the same key before this one are with the same member.
    fn may_have(&self, member: MemberId, serial: u64) -> bool {
        let key = self.entries.get(&serial).and_then(|entry| entry.key);
        let Some(serials) = key.and_then(|key| self.keys.get(&key)) else {
            return true;
        };
        let is_elsewhere = |serial: &&u64| {
            self.entries.get(*serial).is_none_or(|entry| !entry.with.is_member(member))
        };
        serials.iter().find(is_elsewhere) == Some(&serial)
    }

    fn given_in(&self, member: MemberId, turn: u64) -> Vec<u64> {
        let has = self.members.get(&member).map(|member| &member.has);
        let in_turn = |serial: &&u64| {
            let with = self.entries.get(*serial).map(|entry| entry.with);
            matches!(with, Some(With::Member { turn: of, .. }) if of == Some(turn))
        };
        has.into_iter().flatten().filter(in_turn).copied().collect()
    }

    /// Records are acknowledged, whichever member holds them.
    pub(super) fn acknowledge(&mut self, range: &LogRange, end: u64) {
        let serials = self.serials(range);
        for serial in &serials {
            self.remove(*serial);
        }
        let runs: usize = self.done.values().map(Runs::len).sum();
        if serials.is_empty() && runs >= GROUP_RUNS_MAX {
            return;
        }
        let floor = self.floor(&range.log).map_or(0, |position| position.next);
        let done = self.done.entry(range.log).or_default();
        done.insert(range.from.max(floor), range.to.min(end));
        self.settle(&range.log);
    }

    /// A member has not looked at these.
    pub(super) fn take_back(&mut self, member: MemberId, range: &LogRange) {
        for serial in self.serials_with(member, range) {
            if let Some(entry) = self.entries.get_mut(&serial) {
                entry.deliveries = entry.deliveries.saturating_sub(1);
            }
            self.set(serial, With::Nobody);
        }
    }

    /// A member has failed with these.
    pub(super) fn reject(&mut self, now: Duration, member: MemberId, rejection: &Rejection) {
        for serial in self.serials_with(member, &rejection.range) {
            let mut why = rejection.reason.clone();
            why.truncate(why.floor_char_boundary(REASON_BYTES_MAX));
            let delay = Duration::from_millis(u64::from(rejection.delay_ms));
            let delayed = With::Delayed { until: now + delay };
            self.fail(serial, why, if delay.is_zero() { With::Nobody } else { delayed });
        }
    }

    /// A member needs the time for these once more.
    pub(super) fn extend(&mut self, member: MemberId, range: &LogRange, until: Duration) {
        for serial in self.serials_with(member, range) {
            if let Some(With::Member { turn, .. }) = self.entries.get(&serial).map(|it| it.with) {
                self.set(serial, With::Member { member, turn, until });
            }
        }
    }

    /// Takes back what was not acknowledged in time, and frees what has waited long enough. Returns
    /// whether there was any.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        let mut any = false;
        while let Some((_, serial)) = self.due.first().copied().filter(|(until, _)| *until <= now) {
            any = true;
            match self.entries.get(&serial).map(|entry| entry.with) {
                Some(With::Member { .. }) => {
                    self.fail(serial, NOT_IN_TIME.to_owned(), With::Nobody);
                }
                Some(With::Missing { .. }) => self.fail(serial, LOST.to_owned(), With::Nobody),
                _ => self.set(serial, With::Nobody),
            }
        }
        self.members.retain(|_, member| {
            !member.has.is_empty() || now.saturating_sub(member.seen) < GROUP_IDLE
        });
        any
    }

    /// When something must be taken back, or has waited long enough.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(until, _)| *until)
    }

    /// A record is given out again, with what its member holds of the same key after it.
    fn fail(&mut self, serial: u64, why: String, with: With) {
        let Some(entry) = self.entries.get_mut(&serial) else { return };
        entry.why = Some(why);
        let (key, member) = (entry.key, entry.with.member());
        self.set(serial, with);
        let (Some(key), Some(member)) = (key, member) else { return };
        let later = self.keys.get(&key).map(|serials| serials.range(serial..));
        let later: Vec<u64> = later.into_iter().flatten().copied().collect();
        for serial in later {
            if self.entries.get(&serial).is_some_and(|entry| entry.with.is_member(member)) {
                self.set(serial, With::Nobody);
            }
        }
    }

    /// Another coordinator has kept this of the same generation.
    pub(super) fn absorb(&mut self, other: &Subscription) {
        let Some(cursor) = &other.cursor else { return };
        for (log, position) in &cursor.logs {
            let range = LogRange { log: *log, from: 0, to: position.next };
            for serial in self.serials(&range) {
                self.remove(serial);
            }
            self.read.advance_to(*log, *position);
            self.settle(log);
        }
        let Some(group) = &other.group else { return };
        for (log, runs) in &group.done {
            for (from, to) in runs.iter() {
                self.acknowledge(&LogRange { log: *log, from, to }, u64::MAX);
            }
        }
        self.taken_over.merge(group);
    }

    /// What must be stored of it.
    pub(super) fn snapshot(&self) -> Subscription {
        let mut cursor = Cursor::start(self.read.topic);
        for log in self.read.logs.keys() {
            if let Some(position) = self.floor(log).filter(|position| position.next > 0) {
                cursor.logs.insert(*log, position);
            }
        }
        let mut deliveries: BTreeMap<LogId, Deliveries> = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| entry.deliveries > 1) {
            let of_log = deliveries.entry(entry.log).or_default();
            of_log.0.insert(entry.number, entry.deliveries);
        }
        let mut group = Progress { done: self.done.clone(), given: self.given.clone(), deliveries };
        group.settle(&cursor);
        Subscription {
            generation: self.generation,
            cursor: Some(cursor),
            group: Some(Box::new(group)),
        }
    }

    /// Before the first record of a log that is not acknowledged.
    fn floor(&self, log: &LogId) -> Option<Position> {
        let first = self.places.range((*log, 0)..=(*log, u64::MAX)).next();
        match first.and_then(|(_, serial)| self.entries.get(serial)) {
            Some(entry) => Some(Position { next: entry.number, head: entry.before }),
            None => self.read.logs.get(log).copied(),
        }
    }

    /// Forgets what the position of a log says anyhow.
    fn settle(&mut self, log: &LogId) {
        let floor = self.floor(log).map_or(0, |position| position.next);
        if let Some(done) = self.done.get_mut(log) {
            done.remove_below(floor);
            if done.is_empty() {
                self.done.remove(log);
            }
        }
    }

    fn serials(&self, range: &LogRange) -> Vec<u64> {
        if range.from >= range.to {
            return Vec::new();
        }
        let places = self.places.range((range.log, range.from)..(range.log, range.to));
        places.map(|(_, serial)| *serial).collect()
    }

    fn serials_with(&self, member: MemberId, range: &LogRange) -> Vec<u64> {
        let mut serials = self.serials(range);
        serials.retain(|serial| {
            self.entries.get(serial).is_some_and(|entry| entry.with.is_member(member))
        });
        serials
    }

    /// An entry goes from whom it is with to another.
    fn set(&mut self, serial: u64, with: With) {
        let Some(entry) = self.entries.get_mut(&serial) else { return };
        let before = std::mem::replace(&mut entry.with, with);
        self.leave(serial, before);
        match with.until() {
            Some(until) => drop(self.due.insert((until, serial))),
            None => drop(self.ready.insert(serial)),
        }
        if let Some(member) = with.member() {
            self.members.entry(member).or_default().has.insert(serial);
        }
    }

    fn leave(&mut self, serial: u64, with: With) {
        match with.until() {
            Some(until) => drop(self.due.remove(&(until, serial))),
            None => drop(self.ready.remove(&serial)),
        }
        if let Some(member) = with.member().and_then(|member| self.members.get_mut(&member)) {
            member.has.remove(&serial);
        }
    }

    fn remove(&mut self, serial: u64) {
        let Some(entry) = self.entries.remove(&serial) else { return };
        self.places.remove(&(entry.log, entry.number));
        self.leave(serial, entry.with);
        if let Some(key) = entry.key
            && let Some(serials) = self.keys.get_mut(&key)
        {
            serials.remove(&serial);
            if serials.is_empty() {
                self.keys.remove(&key);
            }
        }
    }
}

/// Entries as a member is told of them: those that follow each other and are alike together.
fn assignments<'a>(entries: impl Iterator<Item = &'a Entry>, terms: Terms) -> Vec<Assignment> {
    let mut assignments: Vec<Assignment> = Vec::new();
    for entry in entries {
        let over = entry.deliveries > terms.deliveries_max;
        let bury = over.then(|| entry.why.clone().unwrap_or_else(|| NOT_IN_TIME.to_owned()));
        let range = LogRange { log: entry.log, from: entry.number, to: entry.number + 1 };
        match assignments.last_mut() {
            Some(last)
                if last.range.log == entry.log
                    && last.range.to == entry.number
                    && last.deliveries == entry.deliveries
                    && last.bury == bury =>
            {
                last.range.to += 1;
            }
            Some(_) | None => {
                assignments.push(Assignment { range, deliveries: entry.deliveries, bury });
            }
        }
    }
    assignments
}

#[cfg(test)]
mod tests;
