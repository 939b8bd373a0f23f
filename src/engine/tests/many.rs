//! Reading many topics with one question: which reads are begun, and that none is left over.

use super::*;
use crate::{
    engine::read::For,
    model::Batch,
    wire::{NamesWanted, Page, ReadMany, Request, TopicRead},
};

/// Topics `a`, `b` and `c`, here, each with one record on the disk that nobody has in memory.
fn with_topics() -> (Script, Vec<Batch>) {
    let mut script = Script::new();
    let mut batches = Vec::new();
    for name in ["a", "b", "c"] {
        let create = Create { replicas: Some(1), ..Create::new(name.parse().unwrap()) };
        script.ask(1, Request::Client(ClientRequest::Create(create)));
        batches.push(write(&mut script, name, 0));
    }
    (script, batches)
}

/// Publishes a record and flushes it.
fn write(script: &mut Script, name: &str, number: u64) -> Batch {
    let Request::Client(ClientRequest::Publish(request)) = publish(number, "x", 1_000) else {
        unreachable!()
    };
    let request = Publish { topic: name.parse().unwrap(), ..request };
    let outputs = script.ask(2, Request::Client(ClientRequest::Publish(request)));
    let batch = outputs.iter().find_map(|output| match output {
        Output::Gossip { batch, .. } => Some(batch.clone()),
        _ => None,
    });
    let written = script.engine.core.written;
    script.give(Input::Durable(written));
    batch.unwrap()
}

fn read_many(names: &[(&str, Option<Cursor>)]) -> Request {
    let of = |(name, after): &(&str, Option<Cursor>)| TopicRead {
        topic: name.parse().unwrap(),
        after: after.clone(),
    };
    let topics = names.iter().map(of).collect();
    Request::Client(ClientRequest::ReadMany(ReadMany {
        topics,
        bytes_max: 1 << 20,
        wait_ms: 10_000,
    }))
}

fn after(batch: &Batch) -> Cursor {
    let mut cursor = Cursor::start(batch.header().topic);
    cursor.advance(batch);
    cursor
}

fn reads(outputs: &[Output]) -> Vec<Ticket> {
    let read = |output: &Output| match output {
        Output::Read { ticket, .. } => Some(*ticket),
        _ => None,
    };
    outputs.iter().filter_map(read).collect()
}

/// The answers to a question: which topics, and how many batches of each.
fn pages(outputs: &[Output], question: u64) -> Vec<Vec<(u32, usize)>> {
    let pages = |output: &Output| match output {
        Output::Answer { question: of, response: Response::Pages(pages), .. }
            if *of == QuestionId(question) =>
        {
            Some(pages.iter().map(|it| (it.which, it.page.batches.len())).collect())
        }
        _ => None,
    };
    outputs.iter().filter_map(pages).collect()
}

/// Nothing of any question is left.
fn is_idle(script: &Script) -> bool {
    let reads = &script.engine.read;
    reads.jobs.is_empty()
        && reads.many.is_empty()
        && reads.views.values().all(|view| view.waiting.is_empty())
}

#[test]
fn one_read_at_a_time_goes_to_the_disk() {
    let (mut script, batches) = with_topics();
    let outputs = script.ask(3, read_many(&[("a", None), ("b", None), ("c", None)]));
    let read = reads(&outputs);
    assert_eq!(read.len(), 1, "the others would be in vain: {outputs:?}");
    let page = Page { batches: vec![batches[0].clone()], finished: true, ..Page::default() };
    let outputs = script.give(Input::ReadDone(read[0], Some(page)));
    assert_eq!(pages(&outputs, 3), [[(0, 1)]]);
    assert!(is_idle(&script), "{:?}", script.engine.read);
}

#[test]
fn a_read_that_fails_makes_way_for_the_next() {
    let (mut script, _) = with_topics();
    let mut under_way = reads(&script.ask(3, read_many(&[("a", None), ("b", None)])));
    // The disk gives nothing, however often it is asked.
    let mut asked = BTreeSet::new();
    for _ in 0..60 {
        for ticket in std::mem::take(&mut under_way) {
            let many = script.engine.read.many.values().next().unwrap();
            let topic = script.engine.read.jobs.get(many.under_way().unwrap()).unwrap().topic;
            asked.insert(topic);
            under_way.extend(reads(&script.give(Input::ReadDone(ticket, None))));
        }
        under_way.extend(reads(&script.pass(Duration::from_millis(100))));
    }
    assert_eq!(asked.len(), 2, "the other topic had its turn");
}

#[test]
fn what_is_in_memory_comes_together_and_the_rest_is_dropped() {
    let (mut script, batches) = with_topics();
    let all = [
        ("a", Some(after(&batches[0]))),
        ("b", Some(after(&batches[1]))),
        ("c", Some(after(&batches[2]))),
    ];
    let outputs = script.ask(3, read_many(&all));
    assert_eq!(reads(&outputs), [], "there is nothing yet");
    let request = publish(1, "y", 1_000);
    let Request::Client(ClientRequest::Publish(request)) = request else { unreachable!() };
    let live = Publish { topic: "b".parse().unwrap(), ..request };
    let outputs = script.ask(4, Request::Client(ClientRequest::Publish(live.clone())));
    assert_eq!(pages(&outputs, 3), [[(1, 1)]], "at once");
    assert!(is_idle(&script), "{:?}", script.engine.read);
    // The next question finds what came meanwhile in memory.
    script.ask(
        5,
        Request::Client(ClientRequest::Publish(Publish { topic: "c".parse().unwrap(), ..live })),
    );
    let outputs = script.ask(6, read_many(&all));
    assert_eq!(pages(&outputs, 6), [[(1, 1), (2, 1)]]);
    assert!(is_idle(&script), "{:?}", script.engine.read);
}

#[test]
fn live_batches_wait_for_a_slow_read_and_not_for_ever() {
    let (mut script, batches) = with_topics();
    let all = [("a", None), ("b", Some(after(&batches[1])))];
    let read = reads(&script.ask(3, read_many(&all)));
    let Request::Client(ClientRequest::Publish(request)) = publish(1, "y", 1_000) else {
        unreachable!()
    };
    let live = Publish { topic: "b".parse().unwrap(), ..request };
    let outputs = script.ask(4, Request::Client(ClientRequest::Publish(live)));
    assert_eq!(pages(&outputs, 3), [[]; 0], "what is being read comes along");
    let mut answers = Vec::new();
    let mut waited = Duration::ZERO;
    while answers.is_empty() {
        waited += Duration::from_millis(100);
        answers.extend(pages(&script.pass(Duration::from_millis(100)), 3));
        assert!(waited <= limits::GATHER_WAIT_MAX + TICK, "it waits for ever");
    }
    assert_eq!(answers, [[(1, 1)]]);
    assert!(waited >= limits::GATHER_WAIT_MAX, "{waited:?}");
    assert!(is_idle(&script));
    // What the disk gives at last is for nobody.
    assert_eq!(script.give(Input::ReadDone(read[0], Some(Page::default()))), []);
}

#[test]
fn an_abandoned_question_leaves_nothing_behind() {
    let (mut script, batches) = with_topics();
    let waiting = [("b", Some(after(&batches[1]))), ("c", Some(after(&batches[2])))];
    script.ask(3, read_many(&[("a", None), ("b", None)]));
    script.ask(4, read_many(&waiting));
    script.give(Input::Abandoned(QuestionId(3)));
    let left: Vec<_> = script.engine.read.jobs.values().map(|job| &job.reader).collect();
    assert_eq!(left, [&For::Part(2.into()); 2], "the other question waits still");
    script.give(Input::Abandoned(QuestionId(4)));
    assert!(is_idle(&script), "{:?}", script.engine.read);
}

#[test]
fn nothing_comes_and_the_wait_ends() {
    let (mut script, batches) = with_topics();
    script.ask(3, read_many(&[("b", Some(after(&batches[1]))), ("c", Some(after(&batches[2])))]));
    assert_eq!(pages(&script.pass(Duration::from_millis(9_900)), 3), [[]; 0]);
    assert_eq!(pages(&script.pass(Duration::from_millis(200)), 3), [[]]);
    assert!(is_idle(&script), "{:?}", script.engine.read);
}

#[test]
fn what_nobody_gives_is_nothing_when_the_wait_ends() {
    let (mut script, batches) = with_topics();
    let mut under_way =
        reads(&script.ask(3, read_many(&[("a", None), ("b", Some(after(&batches[1])))])));
    script.pass(Duration::from_secs(10));
    let mut outputs = Vec::new();
    while let Some(ticket) = under_way.pop() {
        outputs = script.give(Input::ReadDone(ticket, None));
        under_way.extend(reads(&outputs));
    }
    assert_eq!(pages(&outputs, 3), [[]], "it is no refusal: {outputs:?}");
    assert!(is_idle(&script), "{:?}", script.engine.read);
}

#[test]
fn reads_of_many_topics_are_bounded_and_leave_room_for_others() {
    let (mut script, batches) = with_topics();
    let full = vec![("b", Some(after(&batches[1]))); limits::READ_MANY_TOPICS_MAX];
    for number in 0..limits::READS_MAX / full.len() {
        let outputs = script.ask(10 + number as u64, read_many(&full));
        assert!(!outputs.iter().any(|output| matches!(output, Output::Answer { .. })));
    }
    let refused = |outputs: &[Output]| {
        let busy = |output: &Output| {
            matches!(output, Output::Answer { response: Response::Refused(Refusal::Busy), .. })
        };
        outputs.iter().any(busy)
    };
    assert!(refused(&script.ask(3, read_many(&[("c", None)]))));
    let single = crate::wire::Read {
        topic: "c".parse().unwrap(),
        after: after(&batches[2]),
        until: None,
        bytes_max: 1,
        wait_ms: 10_000,
    };
    assert!(
        !refused(&script.ask(4, Request::Client(ClientRequest::Read(single)))),
        "it does not count among them"
    );
}

#[test]
fn topics_are_surveyed_a_few_at_a_time() {
    let mut script = Script::new();
    let names: Vec<String> =
        (0..limits::FOLLOW_SURVEYS_MAX + 10).map(|it| format!("t.{it}")).collect();
    for name in &names {
        let create = Create { replicas: Some(3), ..Create::new(name.parse().unwrap()) };
        script.ask(1, Request::Client(ClientRequest::Create(create)));
    }
    script.give(Input::Connected(contact(2)));
    let topics: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
    script.ask(2, read_many(&topics));
    let surveyed = |outputs: &[Output]| -> BTreeSet<TopicId> {
        let topic = |output: &Output| match output {
            Output::Ask { request: Request::Node(NodeRequest::Frontier(topic, ..)), .. } => {
                Some(*topic)
            }
            _ => None,
        };
        outputs.iter().filter_map(topic).collect()
    };
    let (first, second) = (surveyed(&script.pass(TICK)), surveyed(&script.pass(TICK)));
    assert_eq!((first.len(), second.len()), (limits::FOLLOW_SURVEYS_MAX, 10));
    assert!(first.is_disjoint(&second), "each once");
}

#[test]
fn a_topic_that_is_not_there_and_a_cursor_of_another_are_named() {
    let (mut script, batches) = with_topics();
    let refused = |outputs: Vec<Output>| match outputs.into_iter().next() {
        Some(Output::Answer { response: Response::Refused(refusal), .. }) => refusal,
        other => panic!("{other:?}"),
    };
    let outputs = script.ask(3, read_many(&[("a", None), ("nothing.like.it", None)]));
    let unknown = Refusal::UnknownTopic { name: "nothing.like.it".into(), nearest: None };
    assert_eq!(refused(outputs), unknown);
    let outputs = script.ask(4, read_many(&[("a", None), ("b", Some(after(&batches[2])))]));
    let Refusal::Invalid(why) = refused(outputs) else { panic!("it is refused") };
    assert!(why.contains("`b`"), "{why}");
    assert!(is_idle(&script));
}

/// The names in the answer to a question.
fn names(outputs: &[Output]) -> Option<crate::wire::Names> {
    outputs.iter().find_map(|output| match output {
        Output::Answer { response: Response::Names(names), .. } => Some(names.clone()),
        _ => None,
    })
}

#[test]
fn names_are_told_when_they_change_and_not_before() {
    let (mut script, _) = with_topics();
    let wanted = |pattern: &str, known| {
        let pattern = pattern.parse().unwrap();
        Request::Client(ClientRequest::Names(NamesWanted {
            pattern,
            known,
            after: None,
            wait_ms: 10_000,
        }))
    };
    let all = names(&script.ask(3, wanted(">", [0; 32]))).unwrap();
    assert_eq!(all.page.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b", "c"]);
    let none = names(&script.ask(3, wanted("x.*", [0; 32]))).unwrap();
    assert_eq!(none.page, []);
    assert_eq!(names(&script.ask(4, wanted("x.*", none.digest))), None, "it waits");
    let create = |script: &mut Script, name: &str| {
        let create = Create { replicas: Some(1), ..Create::new(name.parse().unwrap()) };
        script.ask(5, Request::Client(ClientRequest::Create(create)));
        script.pass(TICK)
    };
    assert_eq!(names(&create(&mut script, "y.a")), None, "another name");
    assert_eq!(names(&script.ask(4, wanted("x.*", none.digest))), None, "nor is it news later");
    let told = names(&create(&mut script, "x.a")).unwrap();
    assert_eq!(told.page, ["x.a".parse().unwrap()]);
    assert_ne!(told.digest, none.digest);
    // The wait ends with what is known; an abandoned question is not answered.
    script.ask(6, wanted("x.*", told.digest));
    let unchanged = names(&script.pass(Duration::from_secs(10))).unwrap();
    assert_eq!((unchanged.digest, unchanged.page.as_slice()), (told.digest, &[][..]));
    script.ask(7, wanted("x.*", told.digest));
    script.give(Input::Abandoned(QuestionId(7)));
    assert_eq!(names(&create(&mut script, "x.b")), None);
}

#[test]
fn questions_for_names_are_bounded() {
    let (mut script, _) = with_topics();
    let all = |known| {
        let pattern = ">".parse().unwrap();
        Request::Client(ClientRequest::Names(NamesWanted {
            pattern,
            known,
            after: None,
            wait_ms: 10_000,
        }))
    };
    let known = names(&script.ask(3, all([0; 32]))).unwrap().digest;
    for number in 0..limits::NAMES_WAITING_MAX {
        assert_eq!(script.ask(10 + number as u64, all(known)), []);
    }
    let outputs = script.ask(4, all(known));
    let busy =
        matches!(outputs[..], [Output::Answer { response: Response::Refused(Refusal::Busy), .. }]);
    assert!(busy, "{outputs:?}");
}
