//! Creating and publishing in a cluster that is whole.

use antiphon::{
    model::TopicName,
    wire::{ClientRequest, Create, Publish, Refusal, Request, Response},
};

use crate::script::World;

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

#[test]
fn a_publish_is_acknowledged_by_a_majority_and_read_at_every_node() {
    let mut world = World::new(5);
    world.join();
    let owners = world.create(1, "t", 3);
    assert_eq!(owners.len(), 3);
    let published = world.publish(4, World::publish_request("t", 1, 0, &lines(0, 100)));
    assert!(published.acknowledged);
    assert_eq!((published.wanted, published.replicas), (2, 3));
    assert!(published.copies >= 2 && published.stand_ins == 0);
    for node in 0..5 {
        assert_eq!(world.fetch(node, "t"), lines(0, 100), "at node {node}");
    }
}

#[test]
fn every_node_lists_the_topics_of_all() {
    let mut world = World::new(4);
    world.join();
    world.create(0, "b", 3);
    world.create(1, "a", 2);
    world.create(2, "c/ü", 1);
    world.publish(3, World::publish_request("b", 1, 0, &lines(0, 7)));
    for node in 0..4 {
        let Response::Topics(topics, false) =
            world.call(node, Request::Client(ClientRequest::Topics(None)))
        else {
            panic!("no list")
        };
        let listed: Vec<_> = topics
            .iter()
            .map(|topic| (topic.name.as_str(), topic.replicas, topic.records))
            .collect();
        assert_eq!(listed, [("a", 2, 0), ("b", 3, 7), ("c/ü", 1, 0)], "at node {node}");
    }
}

#[test]
fn a_name_is_created_once_and_missing_names_are_told_with_the_nearest() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "orders", 3);
    let create = |if_not_exists| {
        let name: TopicName = "orders".parse().unwrap();
        Request::Client(ClientRequest::Create(Create { if_not_exists, ..Create::new(name) }))
    };
    let refused = Response::Refused(Refusal::TopicExists("orders".into()));
    assert_eq!(world.call(1, create(false)), refused);
    assert!(matches!(world.call(2, create(true)), Response::Created(_, true)));
    let unknown = world.call(2, Request::Client(ClientRequest::Survey("ordres".parse().unwrap())));
    let name = "ordres".to_owned();
    let nearest = Some("orders".to_owned());
    assert_eq!(unknown, Response::Refused(Refusal::UnknownTopic { name, nearest }));
}

#[test]
fn terms_that_cannot_hold_are_refused() {
    let mut world = World::new(1);
    let create = |replicas, min_copies| {
        let name = "t".parse().unwrap();
        Request::Client(ClientRequest::Create(Create { replicas, min_copies, ..Create::new(name) }))
    };
    for request in [create(Some(0), None), create(Some(33), None), create(Some(2), Some(3))] {
        let answer = world.call(0, request);
        assert!(matches!(answer, Response::Refused(Refusal::Copies(_))), "{answer:?}");
    }
    let reserved = Create::new(TopicName::catalogue());
    let answer = world.call(0, Request::Client(ClientRequest::Create(reserved)));
    assert!(matches!(answer, Response::Refused(Refusal::Invalid(_))), "{answer:?}");
}

#[test]
fn a_request_that_is_sent_twice_is_stored_once() {
    let mut world = World::new(3);
    world.join();
    world.create(0, "t", 3);
    let request = World::publish_request("t", 1, 0, &lines(0, 3));
    let first = world.ask(0, Request::Client(ClientRequest::Publish(request.clone())));
    let again = Publish { retried: true, ..request };
    let second = world.ask(0, Request::Client(ClientRequest::Publish(again)));
    world.run(std::time::Duration::from_secs(1));
    for question in [first, second] {
        let Some(Response::Published(published)) = world.answered(question) else {
            panic!("no answer")
        };
        assert!(published.acknowledged);
    }
    assert_eq!(world.fetch(1, "t"), lines(0, 3));
}

#[test]
fn writers_do_not_disturb_each_other() {
    let mut world = World::new(4);
    world.join();
    world.create(0, "t", 3);
    let mut questions = Vec::new();
    for round in 0..20 {
        for node in 0..4_u8 {
            let payload = [format!("{node}:{round}")];
            let request = World::publish_request("t", node, round, &payload);
            questions.push(
                world.ask(usize::from(node), Request::Client(ClientRequest::Publish(request))),
            );
        }
    }
    world.run(std::time::Duration::from_secs(2));
    for question in questions {
        let answer = world.answered(question);
        assert!(matches!(answer, Some(Response::Published(p)) if p.acknowledged), "{answer:?}");
    }
    let all = world.fetch(2, "t");
    assert_eq!(all.len(), 80);
    for node in 0..4 {
        let of_node: Vec<_> =
            all.iter().filter(|text| text.starts_with(&format!("{node}:"))).collect();
        let expected: Vec<_> = (0..20).map(|round| format!("{node}:{round}")).collect();
        assert_eq!(of_node, expected.iter().collect::<Vec<_>>(), "each writer's order holds");
    }
}
