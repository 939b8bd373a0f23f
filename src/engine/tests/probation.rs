//! What a node on probation tells of positions, of trims and of other nodes.

use super::{
    heads::{self, frontiers, sealed, survey, topic, trimmed},
    possession::Lone,
    *,
};
use crate::{
    engine::{holdings::placement::Placement, inflight::found::Found},
    limits::ODD_MEMBERS_FOR,
    model::{Hash, LogId, Position, Previous, Run, Stamp, SubscriberName, Subscription},
};

const DAY: Duration = Duration::from_hours(24);

const OWN: Incarnation = Incarnation(7);

fn by_records() -> Retention {
    Retention { records: Some(10), ..Retention::default() }
}

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

#[test]
fn of_a_topic_with_limits_an_acquainted_home_replica_has_trimmed_something() {
    let log = sealed(4).log();
    let cases: [(&[u8], &[u8], u64); 4] =
        [(&[2], &[2], 5), (&[2], &[3], 0), (&[2], &[2, 3], 5), (&[], &[2, 3], 0)];
    for (acquainted, by, low) in cases {
        let mut script = with_replicas(&[2, 3], acquainted, by_records());
        let by: Vec<_> = by.iter().map(|number| key(*number).node()).collect();
        script.engine.look_at(topic(), false);
        for (ask, node, _) in frontiers(&survey(&mut script)) {
            let held = trimmed(&mut script, topic(), log, &by, node);
            script.give(Input::Told { ask, result: Ok(Response::Held(held)) });
        }
        let known = script.engine.known_low(topic(), &log);
        assert_eq!(known, low, "{acquainted:?} of {by:?}");
    }
}

#[test]
fn on_the_first_day_of_a_network_a_trim_of_all_home_replicas_is_believed() {
    for (retention, low) in [(by_records(), 5), (Retention::default(), 0)] {
        let Lone { mut script, topic: name } = Lone::with(DAY, retention);
        let topic = script.engine.core.topics.named(&name).unwrap();
        let log = sealed(4).log();
        script.engine.look_at(topic, false);
        let outputs = script.ask(70, Request::Client(ClientRequest::Survey(name)));
        for (ask, node, _) in frontiers(&outputs) {
            let held = trimmed(&mut script, topic, log, &[node], node);
            script.give(Input::Told { ask, result: Ok(Response::Held(held)) });
        }
        assert_eq!(script.engine.known_low(topic, &log), low);
    }
}

#[test]
fn what_a_stand_in_holds_is_not_trimmed_though_no_home_replica_holds_it() {
    for is_held in [false, true] {
        let mut script = with_replicas(&[2, 3, 4, 5], &[], Retention::default());
        let (core, log) = (&mut script.engine.core, sealed(4).log());
        let placement = core.topics.get_mut(&topic()).unwrap().placement(&core.members).clone();
        let others = [2, 3, 4, 5].map(|number| key(number).node());
        let home = *others.iter().find(|node| placement.is_home(node)).unwrap();
        let stand_in = *others.iter().find(|node| !placement.is_home(node)).unwrap();
        let told = trimmed(&mut script, topic(), log, &[home], home);
        script.engine.lows_told(topic(), home, &told.frontier.0);
        let outputs: Vec<_> = std::iter::from_fn(|| script.engine.poll_output()).collect();
        for (ask, node, _) in frontiers(&outputs) {
            let members = script.engine.core.members.digest();
            let mut held = Held { members, ..trimmed(&mut script, topic(), log, &[home], node) };
            if node == stand_in && is_held {
                held.frontier = heads::held(log, 5, Hash([2; 32]), Vec::new()).frontier;
            }
            script.give(Input::Told { ask, result: Ok(Response::Held(held)) });
        }
        let known = script.engine.core.topics.get(&topic()).unwrap();
        assert_eq!(known.told_low(&log).0, if is_held { 0 } else { 5 });
    }
}

#[test]
fn who_holds_what_follows_a_trim_cuts_its_log_where_that_is_believed() {
    for (acquainted, cut) in [(vec![2, 3], 5), (vec![], 0)] {
        let mut script = with_replicas(&[2, 3], &acquainted, Retention::default());
        let mut body = Vec::new();
        encode_record(&Record::new(WallClock(1), b"x".to_vec()), &mut body).unwrap();
        let incarnation = Incarnation(5);
        let draft = Draft {
            topic: topic(),
            incarnation,
            previous: Some(Previous { incarnation, next: 5, hash: Hash([3; 32]) }),
            stamp: Stamp::default(),
            runs: vec![Run { producer: ProducerId([1; 16]), first: 0, count: 1 }],
        };
        let batch = draft.seal(&body.into(), &key(2));
        script.engine.store(&batch, Some(key(2).node())).unwrap();
        let (log, by) = (batch.log(), [2, 3].map(|number| key(number).node()));
        let told = trimmed(&mut script, topic(), log, &by, by[0]);
        script.engine.lows_told(topic(), by[0], &told.frontier.0);
        let outputs: Vec<_> = std::iter::from_fn(|| script.engine.poll_output()).collect();
        for (ask, node, _) in frontiers(&outputs) {
            let members = script.engine.core.members.digest();
            let held = Held { members, ..trimmed(&mut script, topic(), log, &by, node) };
            script.give(Input::Told { ask, result: Ok(Response::Held(held)) });
        }
        let known = script.engine.core.topics.get(&topic()).unwrap();
        assert_eq!((known.logs[&log].low, known.told_low(&log).0), (cut, 5));
    }
}

/// What all have said, where one knows other nodes.
fn found(script: &mut Script, odd: NodeId) -> Found {
    let digest = script.engine.core.members.digest();
    let nodes = [1, 2, 3].map(|number| key(number).node());
    let held = |node: NodeId| {
        let members = digest ^ u64::from(node == odd);
        (node, Held { members, ..Held::default() })
    };
    Found {
        topic: topic(),
        held: nodes.into_iter().map(held).collect(),
        placement: Placement::default(),
        needed: 0,
        complete: true,
    }
}

#[test]
fn who_is_on_probation_and_knows_other_nodes_is_waited_for_for_a_while() {
    let cases: [(&[u8], u8, bool); 3] = [(&[2], 3, true), (&[2], 2, false), (&[], 3, false)];
    for (acquainted, odd, is_left_out) in cases {
        let mut script = with_replicas(&[2, 3], acquainted, Retention::default());
        let odd = key(odd).node();
        let steps = 4;
        for step in 0..=steps {
            let found = found(&mut script, odd);
            let now = script.now.elapsed;
            let members = &mut script.engine.core.members;
            found.held.iter().for_each(|(node, it)| members.told_members(now, node, it.members));
            let proves = script.engine.is_exhaustive(&found, ODD_MEMBERS_FOR);
            assert_eq!(proves, is_left_out && step == steps, "{acquainted:?}, step {step}");
            let at_once = script.engine.is_exhaustive(&found, Duration::ZERO);
            assert_eq!(at_once, is_left_out, "of a log that it continues");
            script.pass(ODD_MEMBERS_FOR / steps);
            for other in [2, 3] {
                script.give(Input::Heard(key(other).node(), None));
            }
        }
        // It knows the same as all others for once: then it is waited for again.
        let (now, digest) = (script.now.elapsed, script.engine.core.members.digest());
        script.engine.core.members.told_members(now, &odd, digest);
        script.engine.core.members.told_members(now, &odd, digest ^ 1);
        let found = found(&mut script, odd);
        assert!(!script.engine.is_exhaustive(&found, ODD_MEMBERS_FOR));
    }
}
