//! Groups: members at several nodes share a topic's records, whoever of the nodes fails.

use std::{collections::BTreeSet, time::Duration};

use antiphon::{
    engine::QuestionId,
    model::{Cursor, LogId, MemberId, Progress, Subscription},
    wire::{
        Assignment, ClientRequest, LogRange, Membership, Refusal, Rejection, Request, Response,
        Settle, Settlement, Take, Taken,
    },
};

use crate::script::World;

const VISIBILITY: Duration = Duration::from_secs(30);

/// A member that asks the node it is told.
struct Member {
    number: u8,
    generation: u64,
    turn: u64,
    has: BTreeSet<(LogId, u64)>,
}

impl Member {
    fn new(number: u8) -> Self {
        Self { number, generation: 0, turn: 1, has: BTreeSet::new() }
    }

    fn membership(&self) -> Membership {
        Membership {
            topic: "t".parse().unwrap(),
            group: "g".parse().unwrap(),
            member: MemberId([self.number; 16]),
            generation: self.generation,
            hops: 0,
        }
    }

    fn question(&self, records_max: u32, wait: Duration) -> Request {
        let one =
            |(log, number): &(LogId, u64)| LogRange { log: *log, from: *number, to: number + 1 };
        Request::Client(ClientRequest::Take(Box::new(Take {
            membership: self.membership(),
            turn: self.turn,
            holding: self.has.iter().map(one).collect(),
            settlement: Settlement::default(),
            records_max,
            bytes_max: 1 << 20,
            wait_ms: u32::try_from(wait.as_millis()).unwrap(),
            visibility_ms: u32::try_from(VISIBILITY.as_millis()).unwrap(),
            deliveries_max: 2,
        })))
    }

    #[track_caller]
    fn told(&mut self, taken: Taken) -> Vec<Assignment> {
        self.turn += 1;
        self.generation = taken.generation;
        self.has.extend(places(&taken.assignments));
        taken.assignments
    }

    #[track_caller]
    fn take(&mut self, world: &mut World, node: usize, records_max: u32) -> Vec<Assignment> {
        let answer = world.call(node, self.question(records_max, Duration::from_secs(1)));
        let Response::Taken(taken) = answer else { panic!("{answer:?}") };
        self.told(taken)
    }

    fn settle(&self, world: &mut World, node: usize, settlement: Settlement) -> Response {
        let membership = self.membership();
        let request = Request::Client(ClientRequest::Settle(Box::new(Settle {
            membership,
            settlement,
            visibility_ms: 30_000,
        })));
        world.call(node, request)
    }

    #[track_caller]
    fn acknowledge(&mut self, world: &mut World, node: usize, done: &[Assignment]) {
        for place in places(done) {
            self.has.remove(&place);
        }
        let acknowledged = done.iter().map(|assignment| assignment.range).collect();
        let answer = self.settle(world, node, Settlement { acknowledged, ..Settlement::default() });
        assert!(matches!(answer, Response::Settled(2..)), "{answer:?}");
    }
}

fn places(assignments: &[Assignment]) -> Vec<(LogId, u64)> {
    let of = |it: &Assignment| {
        let log = it.range.log;
        (it.range.from..it.range.to).map(move |number| (log, number))
    };
    assignments.iter().flat_map(of).collect()
}

fn numbers(assignments: &[Assignment]) -> Vec<u64> {
    places(assignments).into_iter().map(|(_, number)| number).collect()
}

fn publish(world: &mut World, node: usize, first: u64, count: u64) {
    let lines: Vec<_> = (first..first + count).map(|number| format!("line {number}")).collect();
    assert!(world.publish(node, World::publish_request("t", 1, first, &lines)).acknowledged);
}

fn begin(
    world: &mut World,
    node: usize,
    generation: u64,
    group: Option<Box<Progress>>,
) -> Response {
    let cursor = Some(Cursor::start(World::topic("t")));
    let subscription = Subscription { generation, cursor, group };
    let (topic, name) = ("t".parse().unwrap(), "g".parse().unwrap());
    world.call(node, Request::Client(ClientRequest::Commit(topic, name, subscription, None)))
}

/// A topic of ten records, and a group that has not begun with them.
fn with_group(nodes: usize) -> World {
    let mut world = World::new(nodes);
    world.join();
    world.create(0, "t", 3);
    publish(&mut world, 0, 0, 10);
    begin(&mut world, 0, 0, Some(Box::default()));
    world
}

fn kept(world: &mut World, node: usize) -> Subscription {
    let request =
        Request::Client(ClientRequest::Position("t".parse().unwrap(), "g".parse().unwrap()));
    match world.call(node, request) {
        Response::Position(Some(kept)) => kept,
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_at_any_nodes_get_each_record_once() {
    let mut world = with_group(5);
    let mut got = Vec::new();
    let mut members: Vec<_> = (0..5).map(Member::new).collect();
    while got.len() < 10 {
        for (node, member) in members.iter_mut().enumerate() {
            let taken = member.take(&mut world, node, 1);
            got.extend(numbers(&taken));
            member.acknowledge(&mut world, node, &taken);
        }
    }
    got.sort_unstable();
    assert_eq!(got, (0..10).collect::<Vec<_>>());
    for node in 0..5 {
        let kept = kept(&mut world, node);
        assert_eq!(kept.cursor.unwrap().records(), 10);
        assert_eq!(
            kept.group,
            Some(Box::<Progress>::default()),
            "nothing is done after the position"
        );
    }
}

#[test]
fn a_member_that_waits_gets_what_is_published() {
    let mut world = with_group(3);
    let mut members = [Member::new(1), Member::new(2)];
    let taken = members[0].take(&mut world, 1, 20);
    members[0].acknowledge(&mut world, 1, &taken);
    let wait = Duration::from_secs(20);
    let asked: Vec<_> = members
        .iter()
        .enumerate()
        .map(|(node, member)| (node, world.ask(node, member.question(20, wait))))
        .collect();
    world.run(Duration::from_secs(1));
    publish(&mut world, 2, 10, 6);
    world.run(Duration::from_secs(1));
    let mut got = Vec::new();
    for (node, question) in asked {
        let Some(Response::Taken(taken)) = world.answered(question) else { panic!("at {node}") };
        let all = members[node].told(taken);
        assert!(!all.is_empty(), "each gets its share");
        got.extend(places(&all));
    }
    got.extend(places(&members[0].take(&mut world, 0, 20)));
    got.sort_unstable();
    got.dedup();
    assert_eq!(got.len(), 6);
}

/// The node that coordinates the group: the only one whose death fails what members asked elsewhere.
fn coordinator(world: &mut World, nodes: usize) -> usize {
    // It learns of the group with the first question.
    Member::new(99).settle(world, 0, Settlement::default());
    let asked: Vec<_> = (0..nodes)
        .map(|node| {
            let before = world.asked;
            let answer = Member::new(99).settle(world, node, Settlement::default());
            assert!(matches!(answer, Response::Settled(_)), "{answer:?}");
            (world.asked - before, node)
        })
        .collect();
    asked.into_iter().min().unwrap().1
}

#[test]
fn when_the_coordinator_dies_members_keep_what_they_have_and_others_get_the_rest() {
    let mut world = with_group(4);
    let dies = coordinator(&mut world, 4);
    let lives = (dies + 1) % 4;
    let (mut one, mut two) = (Member::new(1), Member::new(2));
    let first = one.take(&mut world, lives, 2);
    let lost = two.take(&mut world, lives, 3);
    let done = one.take(&mut world, lives, 1);
    one.acknowledge(&mut world, lives, &done);
    assert_eq!(
        (numbers(&first), numbers(&lost), numbers(&done)),
        (vec![0, 1], vec![2, 3, 4], vec![5])
    );
    world.kill(dies);
    world.run(Duration::from_secs(2));
    // The second member died with it. The first one says what it has.
    let next = one.take(&mut world, lives, 9);
    assert_eq!(numbers(&next), [6, 7, 8, 9], "what nobody had");
    assert!(next.iter().all(|assignment| assignment.deliveries == 1));
    world.run(Duration::from_secs(4));
    let mut again = Vec::new();
    for _ in 0..3 {
        again.extend(one.take(&mut world, lives, 9));
    }
    assert_eq!(numbers(&again), [2, 3, 4], "long before the dead one's time was over");
    assert!(again.iter().all(|assignment| assignment.deliveries == 2), "{again:?}");
    for taken in [&first, &next, &again] {
        one.acknowledge(&mut world, lives, taken);
    }
    assert_eq!(kept(&mut world, lives).cursor.unwrap().records(), 10);
}

#[test]
fn what_is_given_to_nobody_any_more_goes_back() {
    let mut world = with_group(4);
    let at = (coordinator(&mut world, 4) + 1) % 4;
    let gone = Member::new(1);
    let question = world.ask(at, gone.question(5, Duration::ZERO));
    // The answer is on its way when whoever asked is gone.
    world.run(Duration::from_micros(300));
    world.abandon(question);
    world.run(Duration::from_secs(1));
    let taken = Member::new(2).take(&mut world, at, 20);
    assert_eq!(numbers(&taken).len(), 5, "half of all ten, for two members");
    assert!(taken.iter().all(|assignment| assignment.deliveries == 1), "{taken:?}");
}

#[test]
fn a_group_reads_on_when_the_first_question_of_its_node_is_abandoned() {
    let mut world = with_group(1);
    let mut member = Member::new(1);
    let all = member.take(&mut world, 0, 20);
    let acknowledged = all.iter().map(|it| it.range).collect();
    member.settle(&mut world, 0, Settlement { acknowledged, ..Settlement::default() });
    member.has.clear();
    world.stop(0);
    world.start(0);
    let wait = Duration::from_secs(20);
    let first = world.ask(0, Member::new(2).question(5, wait));
    assert_eq!(first.question, QuestionId(0));
    let waits = world.ask(0, member.question(5, wait));
    world.run(Duration::from_secs(1));
    world.abandon(first);
    world.run(Duration::from_secs(1));
    publish(&mut world, 0, 10, 1);
    world.run(Duration::from_secs(1));
    let Some(Response::Taken(taken)) = world.answered(waits) else { panic!("nothing came") };
    assert_eq!(places(&taken.assignments).len(), 1);
}

#[test]
fn a_member_that_fails_says_why_and_the_record_is_buried_in_the_end() {
    let mut world = with_group(3);
    let mut member = Member::new(1);
    let all = member.take(&mut world, 0, 20);
    let range = LogRange { from: 3, to: 4, ..all[0].range };
    for delivery in [1, 2] {
        let rejected = vec![Rejection { range, reason: "no".into(), delay_ms: 0 }];
        member.settle(&mut world, 1, Settlement { rejected, ..Settlement::default() });
        let again = member.take(&mut world, 2, 20);
        let bury = (delivery == 2).then(|| "no".to_owned());
        assert_eq!(again, [Assignment { range, deliveries: delivery + 1, bury }]);
    }
}

#[test]
fn a_reset_reaches_the_members_and_what_they_do_for_the_old_one_counts_for_nothing() {
    let mut world = with_group(3);
    let mut member = Member::new(1);
    let all = member.take(&mut world, 0, 20);
    member.acknowledge(&mut world, 0, &all);
    begin(&mut world, 1, 1, Some(Box::default()));
    let late = member.settle(
        &mut world,
        2,
        Settlement { acknowledged: vec![all[0].range], ..Settlement::default() },
    );
    assert!(matches!(late, Response::Settled(_)), "{late:?}");
    assert_eq!(kept(&mut world, 0).cursor.unwrap().records(), 0);
    assert_eq!(numbers(&member.take(&mut world, 2, 20)), [0_u64; 0], "it is told first");
    assert_eq!(member.generation, 1);
    let again = member.take(&mut world, 2, 20);
    assert_eq!(numbers(&again), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_group_that_is_deleted_ends_for_its_members() {
    let mut world = with_group(3);
    let mut member = Member::new(1);
    member.take(&mut world, 0, 5);
    let waits = world.ask(1, Member::new(2).question(9, Duration::ZERO));
    world.run(Duration::from_secs(1));
    world.answered(waits);
    let (topic, name) = ("t".parse().unwrap(), "g".parse().unwrap());
    world.call(
        2,
        Request::Client(ClientRequest::Commit(topic, name, Subscription::new(1, None), None)),
    );
    let answer = world.call(0, member.question(5, Duration::from_secs(1)));
    assert_eq!(answer, Response::Refused(Refusal::Superseded));
}

#[test]
fn a_name_is_of_one_reader_or_of_a_group() {
    let mut world = with_group(3);
    let answer = begin(&mut world, 1, 0, None);
    assert_eq!(answer, Response::Refused(Refusal::Group("g".into())));
    begin(&mut world, 1, 1, None);
    let answer = world.call(0, Member::new(1).question(5, Duration::ZERO));
    assert_eq!(answer, Response::Refused(Refusal::NotAGroup("g".into())));
}

#[test]
fn two_sides_of_a_parted_network_go_on_and_agree_afterwards() {
    let mut world = with_group(4);
    let mut members = [Member::new(1), Member::new(2)];
    for (here, there) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        world.cut(here, there);
    }
    world.run(Duration::from_secs(15));
    for (member, node) in members.iter_mut().zip([0, 2]) {
        while let taken = member.take(&mut world, node, 3)
            && !taken.is_empty()
        {
            let acknowledged = taken.iter().map(|it| it.range).collect();
            let settlement = Settlement { acknowledged, ..Settlement::default() };
            member.settle(&mut world, node, settlement);
            member.has.clear();
        }
    }
    world.heal();
    world.run(Duration::from_mins(1));
    publish(&mut world, 3, 10, 4);
    for node in 0..4 {
        assert_eq!(kept(&mut world, node).cursor.unwrap().records(), 10, "at {node}");
    }
    let rest = members[0].take(&mut world, 1, 9);
    assert_eq!(numbers(&rest), [0, 1, 2, 3], "of the other writer");
}
