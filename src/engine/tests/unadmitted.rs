//! Records of writers that nobody has admitted, in a closed network that was open.

use super::{
    heads::sealed_in,
    roster::{ADMIN, ISSUED, ROOT, charter, network, pass},
    *,
};
use crate::{
    engine::{Asker, input::Closed, output::Report},
    limits::UNADMITTED_NAMED_AFTER,
    model::{
        Realm,
        roster::{MemberKind, Pass, Statement, TopicIds},
    },
    wire::Statements,
};

/// It wrote while the network was open.
const UNSEEN: u8 = 9;

/// The topic of the open network.
fn topic() -> TopicId {
    Realm::open("lab".parse().unwrap()).topic(&"t".parse().unwrap())
}

/// A node whose store has a log of another member and one of an unseen writer.
fn with_its_records() -> Script {
    let created = Stamp::at(WallClock(1));
    let terms = Descriptor::new("t".parse().unwrap(), key(2).node(), created);
    let logs = [2, UNSEEN].map(|writer| {
        let batch = sealed_in(topic(), writer);
        let mut log = Log::default();
        log.add(&batch).unwrap();
        (batch.log(), log)
    });
    let recovered = Recovered {
        logs: [(topic(), logs.into())].into(),
        descriptors: [(topic(), terms.sign(&key(2)).unwrap())].into(),
        ..Recovered::default()
    };
    let mut charter = charter().terms().clone();
    charter.topic_ids = TopicIds::ByName;
    let mut config = Config::new(key(1), Realm::of(&charter), Incarnation(1), 0);
    let charter = charter.sign(&key(ROOT)).unwrap();
    config.closed = Some(Closed { charter, own: vec![pass(1), pass(2), pass(3)] });
    let engine = Engine::new(config, settled(1, recovered));
    let mut script = Script { engine, now: Now::default() };
    script.connect(2);
    script
}

/// Whose logs the node says that it holds.
fn writers_held(script: &mut Script) -> Vec<NodeId> {
    let request = Request::Node(NodeRequest::Frontier(topic(), None, None));
    let asker = Asker::Node(key(2).node());
    let outputs = script.give(Input::Asked { question: QuestionId(5), asker, request });
    let held = outputs.iter().find_map(|output| match output {
        Output::Answer { response: Response::Held(held), .. } => Some(held),
        _ => None,
    });
    held.expect("it answers").frontier.0.keys().map(|log| log.writer).collect()
}

fn named(outputs: &[Output]) -> Vec<(NodeId, usize)> {
    let named = |output: &Output| match output {
        Output::Report(Report::UnadmittedWriter(writer, topics)) => Some((*writer, *topics)),
        _ => None,
    };
    outputs.iter().filter_map(named).collect()
}

#[test]
fn what_an_unseen_writer_wrote_is_kept_and_shown_when_an_admin_admits_it() {
    let mut script = with_its_records();
    assert_eq!(writers_held(&mut script), [key(2).node()]);
    let outputs = script.pass(UNADMITTED_NAMED_AFTER);
    assert_eq!(named(&outputs), [(key(UNSEEN).node(), 1)]);
    let outputs = script.pass(UNADMITTED_NAMED_AFTER);
    assert_eq!(named(&outputs), [], "it is said once");

    let subject = (key(UNSEEN).node(), MemberKind::Former);
    let admitted = Pass::new(network(), subject, key(ADMIN).node(), ISSUED);
    let admitted = Statement::Pass(admitted.sign(&key(ADMIN)).unwrap());
    let request = NodeRequest::TellRoster(Statements::from_iter([admitted]));
    let (asker, request) = (Asker::Operator, Request::Node(request));
    script.give(Input::Asked { question: QuestionId(6), asker, request });
    let mut both = vec![key(2).node(), key(UNSEEN).node()];
    both.sort();
    assert_eq!(writers_held(&mut script), both);
}
