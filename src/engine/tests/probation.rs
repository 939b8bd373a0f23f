//! What a node on probation tells of positions.

use super::{
    heads::{frontiers, sealed, topic},
    *,
};
use crate::model::{Hash, LogId, Position, SubscriberName, Subscription};

const DAY: Duration = Duration::from_hours(24);

const OWN: Incarnation = Incarnation(7);

/// A topic with three replicas of these nodes and this one, which is acquainted with some of them.
fn with_replicas(others: &[u8], acquainted: &[u8], retention: Retention) -> Script {
    let mut recovered = settled(1, Recovered::default());
    for number in others {
        let node = key(*number).node();
        let known = acquainted.contains(number).then_some(24 * 3_600);
        let contact = Contact { acquainted_s: known, ..Contact::new(node, Vec::new()) };
        recovered.contacts.insert(node, contact);
    }
    let mut config = Config::new(key(1), crate::model::Network::default(), OWN, 0);
    config.probation = DAY;
    let mut script = Script { engine: Engine::new(config, recovered), now: Now::default() };
    script.give(Input::Timeout);
    script.replicate(others, retention);
    script
}

fn name() -> SubscriberName {
    "s".parse().unwrap()
}

/// A position in the log of this node, which has one record, and in one that nobody holds.
fn ahead() -> (LogId, LogId, Subscription) {
    let own = LogId { writer: key(1).node(), incarnation: OWN };
    let elsewhere = sealed(4).log();
    let mut cursor = Cursor::start(topic());
    for log in [own, elsewhere] {
        cursor.advance_to(log, Position { next: 5, head: None });
    }
    (own, elsewhere, Subscription::new(0, Some(cursor)))
}

#[test]
fn repair_takes_a_position_over_as_far_as_it_is_proven_or_an_acquainted_node_tells_it() {
    let (own, elsewhere, told) = ahead();
    for (teller, expected) in [(3, (1, 0)), (2, (5, 5))] {
        let mut script = with_replicas(&[2, 3], &[2], Retention::default());
        script.ask(60, publish(0, "a", 1_000));
        let kept_after = |script: &mut Script, told: &Subscription| {
            let positions = Response::Positions(vec![(name(), told.clone())], false);
            script.engine.repair_positions(key(teller).node(), topic(), Ok(positions));
            let kept = &script.engine.core.topics.get(&topic()).unwrap().subscriptions[&name()];
            let cursor = kept.cursor.clone().unwrap();
            (cursor.next(&own), cursor.next(&elsewhere))
        };
        assert_eq!(kept_after(&mut script, &told), expected, "told by {teller}");
        // What is not told again does not go back, and what is proven by now counts.
        let start = Subscription::new(0, Some(Cursor::start(topic())));
        assert_eq!(kept_after(&mut script, &start), expected);
        let known = script.engine.core.topics.get_mut(&topic()).unwrap();
        known.prove(elsewhere, 5, Hash([1; 32]), true);
        assert_eq!(kept_after(&mut script, &told), (expected.0, 5));
    }
}

#[test]
fn a_survey_believes_of_a_position_what_is_proven_or_an_acquainted_node_tells() {
    let (own, elsewhere, told) = ahead();
    for (teller, expected) in [(3, (1, 0)), (2, (1, 5))] {
        let mut script = with_replicas(&[2, 3], &[2], Retention::default());
        script.ask(60, publish(0, "a", 1_000));
        let request = ClientRequest::Position("t".parse().unwrap(), name());
        let mut outputs = Vec::new();
        for (ask, node, _) in frontiers(&script.ask(70, Request::Client(request))) {
            let position = (node == key(teller).node()).then(|| told.clone());
            let held = Held { position, ..Held::default() };
            outputs = script.give(Input::Told { ask, result: Ok(Response::Held(held)) });
        }
        let [Output::Answer { response: Response::Position(Some(found)), .. }] = outputs.as_slice()
        else {
            panic!("{outputs:?}")
        };
        let cursor = found.cursor.as_ref().unwrap();
        assert_eq!((cursor.next(&own), cursor.next(&elsewhere)), expected, "told by {teller}");
    }
}
