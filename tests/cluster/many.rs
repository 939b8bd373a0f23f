//! Many topics with one question, over several nodes.

use std::{collections::BTreeMap, time::Duration};

use antiphon::{
    model::Cursor,
    wire::{ClientRequest, NamesWanted, ReadMany, Request, Response, TopicRead},
};

use crate::script::{World, payloads_of};

/// Where a reader of several topics stands, and what it was given of each.
struct Reader {
    node: usize,
    at: BTreeMap<String, Option<Cursor>>,
    read: BTreeMap<String, Vec<String>>,
}

impl Reader {
    fn new(node: usize, names: &[&str]) -> Self {
        let at = names.iter().map(|name| ((*name).to_owned(), None)).collect();
        Self { node, at, read: BTreeMap::new() }
    }

    fn request(&self) -> Request {
        let of = |(name, after): (&String, &Option<Cursor>)| TopicRead {
            topic: name.parse().unwrap(),
            after: after.clone(),
        };
        let topics = self.at.iter().map(of).collect();
        Request::Client(ClientRequest::ReadMany(ReadMany {
            topics,
            bytes_max: 64 * 1024,
            wait_ms: 10_000,
        }))
    }

    fn take(&mut self, response: Response) {
        let Response::Pages(pages) = response else { panic!("no pages: {response:?}") };
        for of in pages {
            let name = self.at.keys().nth(of.which as usize).unwrap().clone();
            for batch in of.page.batches {
                assert_eq!(batch.header().topic, World::topic(&name), "it is of the topic");
                let start = Cursor::start(batch.header().topic);
                let at = self.at.get_mut(&name).unwrap().get_or_insert(start);
                assert_eq!(batch.header().first, at.next(&batch.log()), "each once, in order");
                at.advance(&batch);
                self.read.entry(name.clone()).or_default().extend(payloads_of(&batch));
            }
        }
    }

    /// Reads until there are so many records in all.
    fn read(&mut self, world: &mut World, count: usize) {
        while self.read.values().map(Vec::len).sum::<usize>() < count {
            let answer = world.call(self.node, self.request());
            assert_ne!(answer, Response::Pages(Vec::new()), "there is more: {:?}", self.read);
            self.take(answer);
        }
    }
}

const NAMES: [&str; 4] = ["a.1", "a.2", "a.3", "a.4"];

fn lines(name: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{name} {number}")).collect()
}

#[test]
fn history_and_live_records_of_many_topics_come_once_each() {
    let mut world = World::new(5);
    world.join();
    for name in NAMES {
        world.create(0, name, 2);
        world.publish(1, World::publish_request(name, 1, 0, &lines(name, 0..10)));
        world.publish(2, World::publish_request(name, 1, 10, &lines(name, 10..20)));
    }
    // None of the topics but those that it is a replica of is known in detail to this node.
    let mut reader = Reader::new(4, &NAMES);
    reader.read(&mut world, NAMES.len() * 20);
    for number in 20..30 {
        for name in NAMES {
            let record = lines(name, number..number + 1);
            world.ask(
                1,
                Request::Client(ClientRequest::Publish(World::publish_request(
                    name,
                    1,
                    number as u64,
                    &record,
                ))),
            );
        }
    }
    reader.read(&mut world, NAMES.len() * 30);
    for name in NAMES {
        let mut read = reader.read[name].clone();
        read.sort_by_key(|line| line[name.len() + 1..].parse::<usize>().unwrap());
        assert_eq!(read, lines(name, 0..30));
    }
}

#[test]
fn a_live_record_of_one_of_them_comes_with_the_gossip() {
    let mut world = World::new(5);
    world.join();
    for name in NAMES {
        world.create(0, name, 2);
    }
    let reader = Reader::new(3, &NAMES);
    let waiting = world.ask(3, reader.request());
    world.run(Duration::from_secs(1));
    assert!(world.answered(waiting).is_none(), "there is nothing yet");
    world.ask(
        0,
        Request::Client(ClientRequest::Publish(World::publish_request(
            "a.3",
            1,
            0,
            &lines("a.3", 0..1),
        ))),
    );
    world.run(Duration::from_millis(2));
    let Some(Response::Pages(pages)) = world.answered(waiting) else { panic!("at once") };
    assert_eq!(pages.iter().map(|page| page.which).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_topic_whose_records_nobody_gives_does_not_hold_up_the_others() {
    let mut world = World::new(4);
    world.join();
    let holders = world.create(0, "a.1", 1);
    world.create(0, "a.2", 3);
    let gone = holders[0];
    world.publish(gone, World::publish_request("a.1", 1, 0, &lines("a.1", 0..5)));
    let reads = (0..4).find(|node| *node != gone).unwrap();
    world.publish(reads, World::publish_request("a.2", 1, 0, &lines("a.2", 0..5)));
    // The node knows that there are records, and then nobody can be asked for them.
    world.survey(reads, "a.1");
    world.kill(gone);
    let mut reader = Reader::new(reads, &["a.1", "a.2"]);
    reader.read(&mut world, 5);
    assert_eq!(reader.read["a.2"], lines("a.2", 0..5));
    world.start(gone);
    reader.read(&mut world, 10);
    assert_eq!(reader.read["a.1"], lines("a.1", 0..5));
}

#[test]
fn an_abandoned_question_is_not_answered() {
    let mut world = World::new(3);
    world.join();
    for name in NAMES {
        world.create(0, name, 3);
    }
    let reader = Reader::new(1, &NAMES);
    let waiting = world.ask(1, reader.request());
    world.run(Duration::from_millis(100));
    world.abandon(waiting);
    world.publish(0, World::publish_request("a.1", 1, 0, &lines("a.1", 0..1)));
    world.run(Duration::from_secs(11));
    assert!(world.answered(waiting).is_none(), "nobody waits for it");
}

#[test]
fn a_new_name_is_told_at_every_node() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "a.1", 3);
    world.create(0, "b.1", 3);
    world.run(Duration::from_secs(1));
    let wanted = |known| {
        let pattern = "a.*".parse().unwrap();
        Request::Client(ClientRequest::Names(NamesWanted {
            pattern,
            known,
            after: None,
            wait_ms: 10_000,
        }))
    };
    let Response::Names(first) = world.call(1, wanted([0; 32])) else { panic!("no names") };
    assert_eq!(first.page, ["a.1".parse().unwrap()]);
    let waiting = [1, 2].map(|node| world.ask(node, wanted(first.digest)));
    world.create(0, "b.2", 3);
    world.run(Duration::from_secs(1));
    assert!(waiting.iter().all(|waiting| world.answered(*waiting).is_none()));
    world.create(0, "a.2", 3);
    world.run(Duration::from_secs(1));
    let told = waiting.map(|waiting| world.answered(waiting));
    let [Some(Response::Names(one)), Some(Response::Names(two))] = told else { panic!("{told:?}") };
    assert_eq!(one, two, "whatever node is asked");
    assert_eq!(one.page, ["a.1", "a.2"].map(|name| name.parse().unwrap()));
}
