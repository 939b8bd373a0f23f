//! A node inside an HTTP service: events go in by POST and come out as server-sent events, and the
//! service needs nothing beside itself. Start it on several machines, and each has all events.
//!
//! ```sh
//! cargo run --example embed -- --data ./embed-data
//! curl -i localhost:8080/events -d 'hello'                 # 201; 202 where it is stored but not safe yet
//! curl -N localhost:8080/events                            # history, then live
//! curl -N 'localhost:8080/events?after=CURSOR&limit=10'    # goes on behind an event, by its id
//! curl localhost:8080/health
//! ```
//!
//! The id of an event is a cursor, which is valid at every node. So a browser's `EventSource` that
//! loses its connection sends the last one, and goes on with no gap, at whichever instance it meets.

#![expect(clippy::print_stdout, reason = "it tells where it listens")]

use std::{future::IntoFuture, net::SocketAddr, path::PathBuf, pin::pin};

use antiphon_node::{
    Network, Node, NodeConfig, Record, TopicName,
    client::{Delivered, NodeState, PublishError, Refusal, RequestError, Start, Topic},
};
use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use clap::Parser;
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// An HTTP service with a node inside.
#[derive(Debug, Parser)]
struct Options {
    /// Where HTTP is served
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where the node keeps its data
    #[arg(long)]
    data: PathBuf,
    /// The network, whose nodes find each other
    #[arg(long, default_value_t)]
    network: Network,
    /// The topic; made if it is not there
    #[arg(long, default_value = "events")]
    topic: TopicName,
}

/// What each request is given.
#[derive(Debug, Clone)]
struct Service {
    events: Topic,
    /// True when the service is to end. Event streams would otherwise go on for ever.
    ending: watch::Receiver<bool>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let config = NodeConfig::new(options.data).network(options.network);
    let node = Node::start(config).await?;
    let events = node.client().topic(options.topic)?;
    events.create_if_missing().await?;
    let (end, ending) = watch::channel(false);
    let service = Service { events, ending: ending.clone() };
    let router = Router::new()
        .route("/events", get(subscribe).post(publish))
        .route("/health", get(health))
        .with_state(service);
    let listener = TcpListener::bind(options.http).await?;
    println!("http://{}/events", listener.local_addr()?);

    let server = axum::serve(listener, router).with_graceful_shutdown(until(ending));
    let mut server = pin!(server.into_future());
    let mut terminate = signal(SignalKind::terminate())?;
    let failure = tokio::select! {
        _ = tokio::signal::ctrl_c() => None,
        _ = terminate.recv() => None,
        error = node.failed() => Some(error),
        ended = &mut server => return Ok(ended?),
    };
    // HTTP first: what is under way there needs the node.
    end.send_replace(true);
    server.await?;
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(node.stop().await?),
    }
}

async fn until(mut ending: watch::Receiver<bool>) {
    // It fails where nobody can say it any more.
    let _ = ending.wait_for(|ending| *ending).await;
}

#[derive(Debug, Deserialize)]
struct About {
    key: Option<String>,
}

/// `POST /events?key=KEY`: the body is the record.
async fn publish(
    State(service): State<Service>,
    Query(about): Query<About>,
    body: String,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let mut record = Record::from(body);
    record.key = about.key.map(Into::into);
    let (status, id, copies) = match service.events.publish(record).await {
        Ok(receipt) => (StatusCode::CREATED, receipt.id, receipt.copies),
        // It is stored, and will be delivered.
        Err(PublishError::Pending(pending)) => {
            (StatusCode::ACCEPTED, pending.id(), pending.copies())
        }
        Err(error) => return Err(error.into()),
    };
    Ok((status, Json(json!({ "id": id.to_string(), "copies": copies }))))
}

#[derive(Debug, Deserialize)]
struct Range {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /events?after=CURSOR&limit=N`: what is stored behind the cursor, and then what comes.
async fn subscribe(
    State(service): State<Service>,
    Query(range): Query<Range>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = anyhow::Result<Event>>>, Failure> {
    // What a browser sends when it connects again tells more than the address that it was given.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok().map(str::to_owned));
    let start = match last.or(range.after) {
        Some(cursor) => Start::At(cursor.parse().map_err(|error| Failure {
            status: StatusCode::BAD_REQUEST,
            error: format!("{error}"),
            hint: "a cursor is the id of an event; without one, the stream starts at the beginning",
        })?),
        None => Start::Beginning,
    };
    let records = service.events.subscribe(start).await?;
    // An error ends the answer, and the client comes back with the last id that it has.
    let events = stream::try_unfold(records, |mut records| async {
        let Some(delivered) = records.try_next().await? else { return Ok(None) };
        let event =
            Event::default().id(records.cursor().to_string()).json_data(data(&delivered))?;
        Ok(Some((event, records)))
    });
    let events = events.take(range.limit.unwrap_or(usize::MAX)).take_until(until(service.ending));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

fn data(delivered: &Delivered) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let record = &delivered.record;
    json!({
        "id": delivered.id.to_string(),
        "time": record.time.map(|time| time.0),
        "key": record.key.as_deref().map(text),
        "payload": text(&record.payload),
    })
}

/// `GET /health`: whether the node answers, and how many there are.
async fn health(State(service): State<Service>) -> Result<Json<Value>, Failure> {
    let nodes = service.events.client().nodes().await?;
    let alive = nodes.iter().filter(|node| node.state == NodeState::Alive).count();
    let node = nodes.first().map(|own| own.id.to_string());
    Ok(Json(json!({ "node": node, "nodes_alive": alive })))
}

/// What a client is told when it is not served.
#[derive(Debug)]
struct Failure {
    status: StatusCode,
    error: String,
    hint: &'static str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "hint": self.hint });
        (self.status, Json(body)).into_response()
    }
}

impl From<PublishError> for Failure {
    fn from(failure: PublishError) -> Self {
        let error = failure.to_string();
        let (status, hint) = match failure {
            PublishError::Id(_) => (StatusCode::BAD_REQUEST, "give it a shorter id"),
            PublishError::Record(_) => (StatusCode::PAYLOAD_TOO_LARGE, "send it in parts"),
            PublishError::Refused(refusal) => return refusal.into(),
            PublishError::NotSent(_) | PublishError::Stopped => {
                (StatusCode::SERVICE_UNAVAILABLE, "try again")
            }
            _ => (StatusCode::GATEWAY_TIMEOUT, "look whether it is there before you send it again"),
        };
        Self { status, error, hint }
    }
}

impl From<RequestError> for Failure {
    fn from(failure: RequestError) -> Self {
        match failure {
            RequestError::Refused(refusal) => refusal.into(),
            other => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                error: other.to_string(),
                hint: "try again, or ask another instance",
            },
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let error = refusal.to_string();
        let (status, hint) = match refusal {
            Refusal::UnknownTopic { .. } | Refusal::Deleted => {
                (StatusCode::GONE, "the topic was deleted; a restart makes it anew")
            }
            Refusal::ForeignCursor => {
                (StatusCode::BAD_REQUEST, "the topic was made anew; start over")
            }
            Refusal::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, "an operator must make room"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "try again, or ask another instance"),
        };
        Self { status, error, hint }
    }
}
