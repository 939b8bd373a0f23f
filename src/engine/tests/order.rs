//! The order of one writer's records across its restarts, where its older log is hard to get.

use super::*;
use crate::{
    engine::{
        holdings::log::HeldSpan,
        read::{
            For, Job,
            view::{Source, View},
        },
    },
    model::{Batch, Draft, Entry, Frontier, Hash, LogId, Previous, Run, Span},
};

/// The first batch of a log that continues another one, which ends at a record.
fn first_of_next(topic: TopicId, writer: u8, next: u64, hash: Hash) -> Batch {
    let mut body = Vec::new();
    encode_record(&Record::new(WallClock(1), "x"), &mut body).unwrap();
    let draft = Draft {
        topic,
        incarnation: Incarnation(2),
        previous: Some(Previous { incarnation: Incarnation(1), next, hash }),
        stamp: Stamp::default(),
        runs: vec![Run { producer: ProducerId([1; 16]), first: 0, count: 1 }],
    };
    draft.seal(&body.into(), &key(writer))
}

#[test]
fn a_new_log_waits_for_an_older_one_that_is_trimmed_here_and_not_at_a_node_that_failed() {
    let mut script = Script::with_replicas();
    let engine = &mut script.engine;
    let topic = engine.core.topics.named(&"t".parse().unwrap()).unwrap();
    let log = LogId { writer: key(9).node(), incarnation: Incarnation(1) };
    let head = Hash([7; 32]);
    // This node has trimmed the log up to 5, another home up to 3 when it last said so.
    let span = HeldSpan { first: 5, next: 10, base: None, head, stamp: Stamp::default() };
    let held = Log { low: 5, spans: vec![span], ..Log::default() };
    engine.core.topics.entry(topic).recover([(log, held)].into());
    let mut view = View::new(topic);
    let told = Entry { low: 3, spans: vec![Span { first: 3, next: 10, head }], base: None };
    view.told(key(2).node(), &Frontier([(log, told)].into()));
    engine.read.views.insert(topic, view);
    let mut job = Job::new(For::Client(QuestionId(1)), topic, Cursor::start(topic));
    job.met.failed.insert(Source::Node(key(2).node()));
    let number = engine.read.jobs.insert(job);
    let batch = first_of_next(topic, 9, 10, head);
    for _ in 0..3 {
        let mut batches = vec![batch.clone()];
        assert_eq!(engine.hold_back(number, &mut batches), [batch.log()].into());
        assert!(batches.is_empty(), "what this node holds of the older log comes first");
        engine.core.now.elapsed += Duration::from_secs(10);
    }
}
