//! Publishing again: by itself, and under ids that the caller gives.

use antiphon::model::Records;

use super::*;

/// Answers as it was told, and keeps the requests.
#[derive(Debug)]
struct Keeping {
    requests: Mutex<Vec<wire::Publish>>,
    answers: Mutex<Vec<Result<Response, LinkError>>>,
}

impl Link for Keeping {
    fn ask(&self, request: Request, _: Duration) -> BoxFuture<'_, Result<Response, LinkError>> {
        let Request::Client(ClientRequest::Publish(publish)) = request else {
            panic!("not a publish: {request:?}")
        };
        self.requests.lock().unwrap().push(publish);
        let answer = self.answers.lock().unwrap().pop();
        async { answer.unwrap_or(Ok(Response::Published(published()))) }.boxed()
    }
}

/// A publisher, and a link that answers it so, the last first, and then with success.
fn keeping(answers: Vec<Result<Response, LinkError>>) -> (Arc<Keeping>, Publisher) {
    let link = Arc::new(Keeping { requests: Mutex::default(), answers: Mutex::new(answers) });
    let client = Client::over(Arc::clone(&link) as Arc<dyn Link>);
    (link, client.publisher("t".parse().unwrap(), PublishOptions::default()))
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_says_that_it_may_be_there() {
    let unreachable = || Err(LinkError::Unreachable("it broke".into()));
    let busy = Ok(Response::Refused(wire::Refusal::Busy));
    let (link, mut publisher) = keeping(vec![unreachable(), busy]);
    let record = Record::new(WallClock(1), b"m".to_vec());
    publisher.publish(&record).await.unwrap().await.unwrap();
    let requests = link.requests.lock().unwrap();
    // Of what was refused nothing is there.
    let retried: Vec<_> = requests.iter().map(|request| request.retried).collect();
    assert_eq!(retried, [false, false, true]);
    assert!(requests.iter().all(|request| request.first == 0), "under the same name");
}

#[tokio::test]
async fn a_record_with_a_given_id_is_a_request_by_itself() {
    let (link, mut publisher) = keeping(Vec::new());
    let own = (GIVEN_ID_HEADER.to_owned(), "something".into());
    let header = ("kind".to_owned(), "quake".into());
    let record = Record { headers: vec![header.clone()], ..Record::default() };
    let forged = Record { headers: vec![own, header.clone()], ..Record::default() };
    let refused = publisher.publish(&forged).await.err();
    assert!(matches!(refused, Some(PublishError::Record(RecordError::OwnHeader { .. }))));
    let mut deliveries = vec![publisher.publish(&record).await.unwrap()];
    // A record that was read with an id can be published under another one.
    deliveries.push(publisher.publish(forged.with_id("order 7")).await.unwrap());
    deliveries.push(publisher.publish(&record).await.unwrap());
    deliveries.push(publisher.publish(&record).await.unwrap());
    let mut ids = Vec::new();
    for delivery in deliveries {
        ids.push(delivery.await.unwrap().id);
    }
    let requests = link.requests.lock().unwrap();
    let sent = requests.iter().map(|request| (request.first, request.retried));
    assert!(sent.eq([(0, false), (0, true), (1, false)]), "{requests:?}");
    let given = RecordId::given(&"t".parse().unwrap(), "order 7").unwrap();
    assert_eq!((ids[1], requests[1].producer), (given, given.producer));
    assert!(!ids[0].is_given());
    assert_eq!([ids[0].number, ids[2].number, ids[3].number], [0, 1, 2]);
    let stored = Records::new(requests[1].records.0.clone()).next().unwrap().unwrap();
    assert_eq!(stored.headers, [header, (GIVEN_ID_HEADER.to_owned(), "order 7".into())]);
}

#[tokio::test]
async fn an_id_that_is_none_sends_nothing() {
    let (link, mut publisher) = keeping(Vec::new());
    for id in [String::new(), "x".repeat(limits::NAME_BYTES_MAX + 1)] {
        let refused = publisher.publish(Record::default().with_id(&id)).await.err();
        assert_eq!(refused, Some(PublishError::Id(GivenIdError { size: id.len() })));
    }
    publisher.publish(&Record::default()).await.unwrap().await.unwrap();
    assert_eq!(link.requests.lock().unwrap().len(), 1);
}
