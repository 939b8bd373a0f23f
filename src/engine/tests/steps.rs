//! How far revisions and generations may be counted in one step.

use super::*;
use crate::{
    limits::{CHANGES_MAX, STEPS_MAX, STEPS_SINCE_MS},
    model::{Descriptor, SignedDescriptor, Stamp, SubscriberName, Subscription},
};

/// Terms of a topic as another node might sign them.
fn signed(name: &str, change: impl FnOnce(&mut Descriptor)) -> SignedDescriptor {
    let mut terms = Descriptor::new(name.parse().unwrap(), key(2).node(), Stamp::default());
    change(&mut terms);
    terms.sign(&key(2)).unwrap()
}

fn told(script: &mut Script, signed: &SignedDescriptor) -> bool {
    let replicate = Replicate { descriptors: vec![signed.clone()], ..Replicate::default() };
    script.ask(90, Request::Node(NodeRequest::Replicate(replicate)));
    let id = script.engine.core.topics.id_of(signed.descriptor());
    let known = script.engine.core.topics.get(&id).and_then(|known| known.descriptor.as_ref());
    known == Some(signed)
}

#[test]
fn a_revision_or_a_generation_that_jumps_ahead_is_not_believed() {
    let mut script = Script::with_topic("t", 1);
    assert!(told(&mut script, &signed("t", |terms| terms.revision = STEPS_MAX)));
    assert!(!told(&mut script, &signed("t", |terms| terms.revision = 2 * STEPS_MAX + 1)));
    assert!(told(&mut script, &signed("t", |terms| terms.revision = 2 * STEPS_MAX)));
    for generation in [STEPS_MAX + 1, CHANGES_MAX] {
        let far = signed("t", |terms| (terms.generation, terms.deleted) = (generation, true));
        assert!(!told(&mut script, &far));
        assert!(!told(&mut script, &signed("new", |terms| terms.generation = generation)));
        assert!(!told(&mut script, &signed("new", |terms| terms.revision = generation)));
    }
    for request in [
        ClientRequest::Delete("t".parse().unwrap()),
        ClientRequest::Create(Create::new("t".parse().unwrap())),
        ClientRequest::Create(Create::new("new".parse().unwrap())),
    ] {
        let outputs = script.ask(91, Request::Client(request));
        let is_done = |it: &Output| {
            matches!(it, Output::Answer { response: Response::Created(..) | Response::Deleted, .. })
        };
        assert!(outputs.iter().any(is_done), "the names can be used: {outputs:?}");
    }
}

#[test]
fn a_node_that_was_away_or_is_new_learns_of_many_steps() {
    let now = |seconds: u64| Now {
        elapsed: Duration::from_secs(seconds),
        wall: WallClock(STEPS_SINCE_MS + seconds * 1_000),
    };
    let mut script = Script::new();
    script.now = now(10);
    assert!(told(&mut script, &signed("t", |_| {})));
    let far = signed("t", |terms| terms.generation = 3_000);
    assert!(!told(&mut script, &far), "3,000 deletions within ten seconds");
    script.now = now(3_000);
    assert!(told(&mut script, &far));
    let mut script = Script::new();
    script.now = now(3_000);
    assert!(told(&mut script, &far), "nothing was known of it");
}

#[test]
fn a_subscription_that_jumps_ahead_is_not_believed() {
    let mut script = Script::with_topic("t", 1);
    script.connect(2);
    let topic = script.engine.core.topics.named(&"t".parse().unwrap()).unwrap();
    let name: SubscriberName = "s".parse().unwrap();
    let at = |generation| Subscription::new(generation, None);
    let asker = Asker::Node(key(2).node());
    let mut keep = |generation| {
        let request = NodeRequest::Keep(topic, name.clone(), at(generation), None);
        let request = Request::Node(request);
        script.give(Input::Asked { question: QuestionId(80), asker, request });
        let known = script.engine.core.topics.get(&topic).unwrap();
        known.subscriptions.get(&name).map(|kept| kept.generation)
    };
    assert_eq!(keep(u64::MAX), None);
    assert_eq!(keep(STEPS_MAX), Some(STEPS_MAX));
    assert_eq!(keep(STEPS_MAX + 1), Some(STEPS_MAX));
    let commit = ClientRequest::Commit("t".parse().unwrap(), name.clone(), at(u64::MAX), None);
    let outputs = script.ask(81, Request::Client(commit));
    let is_refused = |it: &Output| {
        matches!(it, Output::Answer { response: Response::Refused(Refusal::Invalid(_)), .. })
    };
    assert!(outputs.iter().any(is_refused), "{outputs:?}");
}
