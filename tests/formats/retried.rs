//! What says that something is published again, and where it is.

use antiphon::{
    limits::FIND_RUNS_MAX,
    model::{Blob, RecordId, Run, TopicName},
    wire::{Acks, ClientRequest, NodeRequest, Publish, Published, Request, Response, Whereabouts},
};

use super::{batch, frozen, records, round_trip, topic};

#[test]
fn publishes_that_are_sent_again() {
    let topic_name: TopicName = "earthquakes".parse().unwrap();
    let id = RecordId::given(&topic_name, "us2000crkq").unwrap();
    let log = batch().header().log();
    let requests = [
        Request::Client(ClientRequest::Publish(Publish {
            topic: topic_name,
            producer: id.producer,
            first: id.number,
            records: Blob(records()),
            acks: Acks::Quorum,
            timeout_ms: 10_000,
            retried: true,
        })),
        Request::Node(NodeRequest::Find(
            topic(),
            vec![Run { producer: id.producer, first: id.number, count: 1 }],
        )),
    ];
    let responses = [
        Response::Published(Published {
            acknowledged: true,
            copies: 2,
            stand_ins: 0,
            replicas: 3,
            wanted: 2,
            duplicate: true,
            ..Published::default()
        }),
        Response::Whereabouts(vec![Some(Whereabouts { log, first: 41, whole: true }), None]),
    ];
    let all = round_trip(requests, responses);
    frozen("retried.hex", &all);
}

#[test]
fn one_request_looks_for_so_many_runs_and_no_more() {
    let run = batch().header().runs[0];
    let request = |count| Request::Node(NodeRequest::Find(topic(), vec![run; count])).encode();
    assert!(Request::decode(&request(FIND_RUNS_MAX)).is_ok());
    assert!(Request::decode(&request(FIND_RUNS_MAX + 1)).is_err());
    let response = |count| Response::Whereabouts(vec![None; count]).encode();
    assert!(Response::decode(&response(FIND_RUNS_MAX)).is_ok());
    assert!(Response::decode(&response(FIND_RUNS_MAX + 1)).is_err());
}
