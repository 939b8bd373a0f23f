//! A client that reads a topic, moving between nodes. With a name it saves its position now and
//! then, and after a crash of its own goes on from what was saved.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use antiphon::{
    model::{Cursor, Hash, LogId, RecordId, SubscriberName, Subscription},
    wire::{ClientRequest, LogRange, Page, Read, Request, Response},
};

use crate::world::{
    World,
    clients::Next,
    invariants::{admitted, cursors, groups, no_gap, no_phantom, writer_order},
    liar::Lie,
};

/// What a reader has asked.
#[derive(Debug, Clone)]
enum Asked {
    Nothing,
    Page,
    Commit(Subscription),
    Position,
    /// Somebody else's commit of a position that does not exist.
    Greed(Subscription),
}

/// The batches that a reader was shown, by the log that they were filed under: first record, the one
/// after the last, hash.
pub(crate) type Shown = BTreeMap<LogId, BTreeSet<(u64, u64, Hash)>>;

/// Reads a topic.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) topic: usize,
    pub(crate) name: Option<SubscriberName>,
    pub(crate) cursor: Cursor,
    /// What was delivered in this run.
    run: BTreeSet<RecordId>,
    /// What was delivered in any run.
    pub(crate) delivered: BTreeSet<RecordId>,
    /// What a liar moved the position past.
    pub(crate) moved_past: BTreeSet<RecordId>,
    /// The batches that it was shown, by the log that they were filed under: first record, the one
    /// after the last, hash.
    pub(crate) shown: Shown,
    generation: u64,
    /// The furthest that was committed, by generation; none where that was the deletion.
    pub(crate) committed: BTreeMap<u64, Option<Cursor>>,
    /// The furthest that was said to be kept.
    pub(crate) kept: Option<Subscription>,
    asked: Asked,
    resuming: bool,
    node: usize,
}

impl Reader {
    pub(crate) fn new(topic: usize, start: Cursor, name: Option<SubscriberName>) -> Self {
        Self {
            topic,
            resuming: name.is_some(),
            name,
            cursor: start,
            run: BTreeSet::new(),
            delivered: BTreeSet::new(),
            moved_past: BTreeSet::new(),
            shown: BTreeMap::new(),
            generation: 0,
            committed: BTreeMap::new(),
            kept: None,
            asked: Asked::Nothing,
            node: 0,
        }
    }

    pub(crate) fn go_on(
        &mut self,
        world: &mut World,
        response: Option<Response>,
        asked: bool,
    ) -> Next {
        if asked {
            let read = self.told(world, response);
            let pause = if read && !world.publishing {
                // Nothing new comes any more; what is there is read as fast as it goes.
                Duration::from_millis(10)
            } else if read {
                world.choices.time(Duration::from_millis(1), world.options.read_pause)
            } else {
                // Nothing came of it: somebody else may know more.
                self.node = world.some_node();
                world.choices.time(Duration::from_millis(20), Duration::from_millis(500))
            };
            return Next::Pause(pause);
        }
        if world.choices.chance(30) {
            self.node = world.some_node();
        }
        self.asked = self.next_question(world);
        let name = world.options.topics[self.topic].name.parse().unwrap();
        let wait = world.choices.pick(&[1_000, 0, 200, 5_000]);
        let request = match (&self.asked, &self.name) {
            (Asked::Position, Some(subscriber)) => {
                Request::Client(ClientRequest::Position(name, subscriber.clone()))
            }
            (Asked::Commit(subscription), Some(subscriber)) => Request::Client(
                ClientRequest::Commit(name, subscriber.clone(), subscription.clone(), None),
            ),
            (Asked::Greed(subscription), Some(_)) => Request::Client(ClientRequest::Commit(
                name,
                "greed".parse().unwrap(),
                subscription.clone(),
                None,
            )),
            _ => Request::Client(ClientRequest::Read(Read {
                topic: name,
                after: self.cursor.clone(),
                until: None,
                bytes_max: if world.publishing {
                    world.choices.pick(&[64 * 1024, 1, 1_000, 4 * 1024 * 1024])
                } else {
                    4 * 1024 * 1024
                },
                wait_ms: wait,
            })),
        };
        Next::Ask(self.node, request, Duration::from_millis(u64::from(wait)))
    }

    fn next_question(&mut self, world: &mut World) -> Asked {
        if self.name.is_none() {
            return Asked::Page;
        }
        if self.resuming || world.faulty && world.choices.chance(30) {
            self.resuming = true;
            self.run.clear();
            return Asked::Position;
        }
        if world.choices.chance(200) {
            if world.faulty && world.choices.chance(50) {
                self.rewind(world);
            } else if world.faulty && world.choices.chance(30) {
                return Asked::Commit(self.delete());
            }
            let cursor = self.cursor.clone();
            let start = Cursor::start(cursor.topic);
            let furthest = self.committed.entry(self.generation).or_insert(Some(start));
            furthest.as_mut().expect("a deletion has its own generation").join(&cursor);
            return Asked::Commit(Subscription::new(self.generation, Some(cursor)));
        }
        if world.choices.chance(30) {
            return Asked::Greed(self.ahead());
        }
        Asked::Page
    }

    /// A position beyond all that exists.
    fn ahead(&self) -> Subscription {
        let mut cursor = self.cursor.clone();
        cursor.logs.values_mut().for_each(|position| position.next += 1_000_000);
        Subscription::new(0, Some(cursor))
    }

    /// Deletes the subscription; what is committed after that begins anew.
    fn delete(&mut self) -> Subscription {
        let deleted = Subscription::new(self.generation + 1, None);
        self.committed.insert(deleted.generation, None);
        self.generation += 2;
        self.run.clear();
        self.cursor = Cursor::start(self.cursor.topic);
        deleted
    }

    /// Sets the position back on purpose.
    fn rewind(&mut self, world: &mut World) {
        self.generation += 1;
        self.run.clear();
        let back = world.choices.index(self.cursor.logs.len() + 1);
        let kept = self.cursor.logs.clone().into_iter().take(back).collect();
        self.cursor.logs = kept;
    }

    /// Takes an answer; whether there was one.
    fn told(&mut self, world: &mut World, response: Option<Response>) -> bool {
        let asked = std::mem::replace(&mut self.asked, Asked::Nothing);
        match (asked, response) {
            (Asked::Page, Some(Response::Page(page))) => self.read(world, &page),
            (Asked::Commit(subscription), Some(Response::Committed(copies, _))) => {
                world.counts.commits += 1;
                let replicas = world.replicas(self.topic);
                if copies > replicas / 2 {
                    self.kept = Some(subscription);
                }
            }
            (Asked::Greed(_), Some(_)) => {}
            (Asked::Position, Some(Response::Position(position))) => self.resume(world, position),
            _ => return false,
        }
        true
    }

    fn resume(&mut self, world: &mut World, position: Option<Subscription>) {
        let start = Cursor::start(self.cursor.topic);
        if let Some(position) = &position {
            let result = cursors::resumed(world, &self.committed, position);
            world.check(cursors::NAME, result);
            let moved = position.cursor.as_ref().filter(|_| world.liars_tell(Lie::PositionAhead));
            let moved = moved.into_iter().flat_map(|cursor| &cursor.logs);
            for (log, at) in moved {
                let range = LogRange { log: *log, from: self.committed_to(log), to: at.next };
                let past = groups::records(world, self.topic, &range);
                self.moved_past.extend(past.into_iter().map(|(_, id, _)| id));
            }
        }
        self.resuming = false;
        self.run.clear();
        // Its generation counts on from the highest that it ever gave.
        self.cursor = start;
        if let Some(Subscription { generation, cursor, .. }) = position {
            let is_deleted = cursor.is_none();
            self.generation = self.generation.max(generation + u64::from(is_deleted));
            self.cursor = cursor.unwrap_or_else(|| Cursor::start(self.cursor.topic));
        }
        let topic = self.cursor.topic;
        world.trace.note(world.now, || format!("a subscriber resumes in {topic:?}"));
    }

    /// Up to where the reader itself ever committed a log.
    fn committed_to(&self, log: &LogId) -> u64 {
        let committed = self.committed.values().flatten();
        committed.map(|cursor| cursor.next(log)).max().unwrap_or(0)
    }

    fn read(&mut self, world: &mut World, page: &Page) {
        for batch in &page.batches {
            let result = no_gap::continues(world, &self.cursor, batch, page);
            world.check(no_gap::NAME, result);
            let result = writer_order::continues(world, &self.cursor, batch);
            world.check(writer_order::NAME, result);
            let result = admitted::shown(world, self.topic, batch);
            world.check(admitted::NAME, result);
            for (number, id, record) in batch.numbered_records() {
                if number < self.cursor.next(&batch.log()) {
                    continue;
                }
                let result = no_phantom::read(&world.oracle, self.topic, id, record.as_ref().ok());
                world.check(no_phantom::NAME, result);
                if self.run.insert(id) {
                    world.counts.records_read += 1;
                }
                self.delivered.insert(id);
            }
            self.cursor.advance(batch);
            let header = batch.header();
            let shown = self.shown.entry(batch.log()).or_default();
            shown.insert((header.first, header.next(), batch.hash()));
        }
    }
}
