//! Records that have too few copies in time.

use antiphon::{
    model::{Incarnation, LogId, NodeId},
    wire::LogRange,
};

use super::*;

/// Answers as it was told, one request after the other.
#[derive(Debug)]
struct Answering(Mutex<Vec<Result<Response, LinkError>>>);

impl Link for Answering {
    fn ask(&self, _: Request, _: Duration) -> BoxFuture<'_, Result<Response, LinkError>> {
        let answer = self.0.lock().unwrap().remove(0);
        async { answer }.boxed()
    }

    fn connection(&self) -> crate::client::Connection {
        let state = crate::client::ConnectionState::Searching { known: 1, causes: Vec::new() };
        crate::client::Connection::new(tokio::sync::watch::channel(state).1)
    }
}

fn on(copies: u16) -> Published {
    let log = LogId { writer: NodeId::from_bytes([1; 32]), incarnation: Incarnation(7) };
    let place = Some(LogRange { log, from: 4, to: 5 });
    Published {
        acknowledged: copies >= 2,
        copies,
        replicas: 3,
        wanted: 2,
        place,
        ..Published::default()
    }
}

/// Publishes one record that is answered so.
async fn outcome(answers: Vec<Result<Response, LinkError>>) -> Result<Receipt, PublishError> {
    let client = Client::over(Arc::new(Answering(Mutex::new(answers))));
    let mut publisher = client.publisher("t".parse().unwrap(), PublishOptions::default());
    publisher.publish(&Record::from("m")).await.unwrap().await
}

async fn pending(mut answers: Vec<Result<Response, LinkError>>) -> Pending {
    answers.insert(0, Ok(Response::Published(on(1))));
    match outcome(answers).await {
        Err(PublishError::Pending(pending)) => pending,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn too_few_copies_are_an_error_that_says_how_many_there_are() {
    let pending = pending(Vec::new()).await;
    assert_eq!((pending.copies(), pending.wanted(), pending.replicas()), (1, 2, 3));
    assert_eq!(pending.place(), on(1).place);
    let error = PublishError::Pending(pending.clone());
    assert!(!error.is_retriable(), "it will be delivered");
    let expected =
        format!("record {} is pending: it is on 1 of 2 disks, and will be delivered", pending.id());
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_pending_record_is_waited_for_past_nodes_that_do_not_answer() {
    let mut pending = pending(vec![
        Err(LinkError::Unreachable("it restarts".into())),
        Ok(Response::Refused(wire::Refusal::Busy)),
        Ok(Response::Awaited(on(1))),
        Ok(Response::Awaited(on(2))),
    ])
    .await;
    let receipt = pending.wait().await.unwrap();
    assert_eq!((receipt.id, receipt.copies, receipt.wanted), (pending.id(), 2, 2));
    assert_eq!(pending.copies(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_with_a_bound_says_that_it_is_pending_still() {
    let mut pending = pending(vec![Ok(Response::Awaited(on(1))); 1]).await;
    assert_eq!(pending.wait_within(Duration::ZERO).await, Ok(None));
}

#[tokio::test]
async fn a_wait_ends_where_the_topic_is_deleted_or_the_place_is_not_known() {
    let forked = Ok(Response::Refused(wire::Refusal::Forked(None)));
    let mut refused = pending(vec![forked]).await;
    assert_eq!(refused.wait().await, Err(Refusal::Forked.into()));
    let nowhere = Published { place: None, ..on(1) };
    let Err(PublishError::Pending(mut pending)) =
        outcome(vec![Ok(Response::Published(nowhere))]).await
    else {
        panic!("it is pending")
    };
    assert_eq!(pending.wait().await, Err(Refusal::Forked.into()));
}

#[test]
fn each_error_says_whether_to_publish_again() {
    let given = RecordId::given(&"t".parse().unwrap(), "order 7").unwrap();
    let nobody = || LinkError::Unreachable("nobody".into());
    let retriable = [
        PublishError::NotSent(nobody()),
        PublishError::Unknown { id: given, cause: nobody() },
        Refusal::Busy.into(),
        Refusal::Full(None).into(),
        Refusal::Unreachable.into(),
    ];
    for error in retriable {
        assert!(error.is_retriable(), "{error:?}");
    }
    let others = [
        unknown(nobody()),
        PublishError::Stopped,
        RecordError::TooLarge { size: 7 }.into(),
        GivenIdError { size: 0 }.into(),
        Refusal::Invalid("no".into()).into(),
        Refusal::UnknownTopic { name: "t".into(), nearest: None }.into(),
    ];
    for error in others {
        assert!(!error.is_retriable(), "{error:?}");
    }
}
