//! Clients whose node is silent, late, full or gone. What a node answers is up to the test.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use antiphon::wire::{ClientRequest, MemberState, Peer, Published};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

use super::*;

const WITHIN: Duration = Duration::from_secs(20);

fn acknowledged(copies: u16) -> Response {
    published(copies, true)
}

fn published(copies: u16, acknowledged: bool) -> Response {
    Response::Published(Published {
        acknowledged,
        copies,
        stand_ins: 0,
        replicas: 3,
        wanted: 2,
        ..Published::default()
    })
}

impl Running {
    /// Waits for a publish, and answers what clients ask by themselves.
    async fn asked_to_publish(&mut self) -> QuestionId {
        loop {
            match self.asked().await {
                (question, _, Request::Client(ClientRequest::Publish(_))) => return question,
                (question, _, Request::Client(ClientRequest::Peers)) => {
                    self.reply(question, Response::Peers(Vec::new())).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    async fn reply(&self, question: QuestionId, response: Response) {
        self.run(move |network| network.answer(question, response)).await;
    }

    fn as_peer(&self) -> Peer {
        let address = translate::split_peer(self.address.clone()).0.to_string();
        let (node, state) = (self.node, MemberState::Alive);
        Peer::new(node, state, vec![address])
    }

    /// Waits until this many peers are connected.
    async fn wait_for_peers(&self, count: usize) {
        let (tell, mut told) = mpsc::channel(1);
        let waiting = async {
            loop {
                let tell = tell.clone();
                let answer = move |network: &mut Network| {
                    let _ = tell.try_send(network.swarm.network_info().num_peers());
                };
                self.run(answer).await;
                if told.recv().await == Some(count) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(WITHIN, waiting).await.expect("they connect in time");
    }
}

/// A link that tries these nodes, in order.
async fn link_to(nodes: &[&Running]) -> Arc<RemoteLink> {
    let nodes = nodes.iter().map(|node| node.address.clone()).collect();
    Arc::new(RemoteLink::connect(&client(nodes)).await.unwrap())
}

/// Asks while the test plays the nodes.
fn ask(link: &Arc<RemoteLink>, request: Request) -> JoinHandle<Result<Response, LinkError>> {
    let link = Arc::clone(link);
    tasks::spawn("asker", async move { link.ask(request, WITHIN).await })
}

#[tokio::test]
async fn a_late_publish_is_sent_to_another_node_as_well() {
    let (mut first, mut second) = (start(settings(1)).await, start(settings(2)).await);
    let link = link_to(&[&first, &second]).await;
    let asked = ask(&link, publish(10));
    let late = first.asked_to_publish().await;
    let question = second.asked_to_publish().await;
    second.reply(question, acknowledged(2)).await;
    assert_eq!(asked.await.unwrap(), Ok(acknowledged(2)));
    // The node that was quicker is asked from now on; the late one may say what it wants.
    first.reply(late, published(1, false)).await;
    let asked = ask(&link, publish(10));
    let question = second.asked_to_publish().await;
    second.reply(question, acknowledged(3)).await;
    assert_eq!(asked.await.unwrap(), Ok(acknowledged(3)));
}

#[tokio::test]
async fn a_late_node_is_not_left() {
    let (mut first, mut second) = (start(settings(1)).await, start(settings(2)).await);
    let link = link_to(&[&first, &second]).await;
    let asked = ask(&link, publish(10));
    let late = first.asked_to_publish().await;
    // Neither a refusal nor fewer copies is better than to wait.
    let question = second.asked_to_publish().await;
    second.reply(question, published(1, false)).await;
    tokio::task::yield_now().await;
    first.reply(late, acknowledged(2)).await;
    assert_eq!(asked.await.unwrap(), Ok(acknowledged(2)));
}

#[tokio::test]
async fn a_publish_that_is_sent_again_has_the_rest_of_its_time() {
    let (mut first, mut second) = (start(settings(1)).await, start(settings(2)).await);
    let link = link_to(&[&first, &second]).await;
    let Request::Client(ClientRequest::Publish(mut whole)) = publish(10) else { unreachable!() };
    whole.timeout_ms = 10_000;
    let asked = ask(&link, Request::Client(ClientRequest::Publish(whole.clone())));
    first.asked_to_publish().await;
    let again = loop {
        if let (question, _, Request::Client(ClientRequest::Publish(again))) = second.asked().await
        {
            second.reply(question, acknowledged(2)).await;
            break again;
        }
    };
    assert!(again.timeout_ms < whole.timeout_ms, "{}", again.timeout_ms);
    assert!(again.timeout_ms > 1_000, "{}", again.timeout_ms);
    assert_eq!((again.producer, again.first), (whole.producer, whole.first));
    assert_eq!(asked.await.unwrap(), Ok(acknowledged(2)));
}

#[tokio::test]
async fn what_a_full_node_refuses_is_brought_to_another() {
    let full = || Response::Refused(Refusal::Full(None));
    let (mut first, mut second) = (start(settings(1)).await, start(settings(2)).await);
    let link = link_to(&[&first, &second]).await;
    let asked = ask(&link, publish(10));
    let question = first.asked_to_publish().await;
    first.reply(question, full()).await;
    let question = second.asked_to_publish().await;
    second.reply(question, acknowledged(2)).await;
    assert_eq!(asked.await.unwrap(), Ok(acknowledged(2)));
    // Where all refuse, the first one's reason is told. It goes to the one that took the last.
    let asked = ask(&link, publish(10));
    let question = second.asked_to_publish().await;
    second.reply(question, full()).await;
    let question = first.asked_to_publish().await;
    first.reply(question, Response::Refused(Refusal::Busy)).await;
    assert_eq!(asked.await.unwrap(), Ok(full()));
}

#[tokio::test]
async fn where_one_node_is_known_its_refusal_is_told() {
    let mut node = start(settings(1)).await;
    let link = link_to(&[&node]).await;
    let asked = ask(&link, publish(10));
    let question = node.asked_to_publish().await;
    node.reply(question, Response::Refused(Refusal::Stopping("it ends".into()))).await;
    let refused = Response::Refused(Refusal::Stopping("it ends".into()));
    assert_eq!(asked.await.unwrap(), Ok(refused));
}

#[tokio::test]
async fn a_link_learns_of_other_nodes() {
    let (mut first, mut second) = (start(settings(1)).await, start(settings(2)).await);
    let link = link_to(&[&first]).await;
    let (question, _, request) = first.asked().await;
    assert_eq!(request, Request::Client(ClientRequest::Peers));
    let peers = vec![first.as_peer(), second.as_peer()];
    first.reply(question, Response::Peers(peers)).await;
    // It connects to the other one before it needs it.
    second.wait_for_peers(1).await;
    let asked = ask(&link, publish(10));
    first.asked_to_publish().await;
    first.kill().await;
    let question = second.asked_to_publish().await;
    second.reply(question, acknowledged(2)).await;
    assert_eq!(asked.await.unwrap(), Ok(acknowledged(2)));
}

#[tokio::test]
async fn a_link_asks_again_until_it_knows_another_node() {
    let (mut first, second) = (start(settings(1)).await, start(settings(2)).await);
    let _link = link_to(&[&first]).await;
    let (_unanswered, _, request) = first.asked().await;
    assert_eq!(request, Request::Client(ClientRequest::Peers));
    let (question, _, request) = first.asked().await;
    assert_eq!(request, Request::Client(ClientRequest::Peers));
    first.reply(question, Response::Peers(vec![first.as_peer()])).await;
    let (question, _, request) = first.asked().await;
    assert_eq!(request, Request::Client(ClientRequest::Peers));
    first.reply(question, Response::Peers(vec![first.as_peer(), second.as_peer()])).await;
    second.wait_for_peers(1).await;
}

/// A way to a node that takes bytes and, once told so, loses them.
struct Swallowing {
    stalled: Arc<AtomicBool>,
    address: Multiaddr,
    _task: JoinHandle<()>,
}

impl Swallowing {
    async fn before(node: &Running) -> Self {
        let mut parts = node.address.iter();
        let port = parts.find_map(|part| match part {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let peer = translate::peer_of(node.node);
        let address = format!("/ip4/127.0.0.1/tcp/{here}/p2p/{peer}").parse().unwrap();
        let stalled = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&stalled);
        let task = tasks::spawn("proxy", async move {
            let mut ways = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", port.unwrap())).await.unwrap();
                let (near, far) = (near.into_split(), far.into_split());
                ways.spawn(forward(Arc::clone(&state), near.0, far.1));
                ways.spawn(forward(Arc::clone(&state), far.0, near.1));
            }
        });
        Self { stalled, address, _task: task }
    }
}

async fn forward(stalled: Arc<AtomicBool>, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !stalled.load(Ordering::Acquire) && to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}

#[tokio::test]
async fn what_a_silent_node_was_asked_is_asked_of_another() {
    let (mut first, mut second) = (start(settings(1)).await, start(settings(2)).await);
    let way = Swallowing::before(&first).await;
    let nodes = vec![way.address.clone(), second.address.clone()];
    let link = Arc::new(RemoteLink::connect(&client(nodes)).await.unwrap());
    // Not only a publish: anything.
    let topics = || Request::Client(ClientRequest::Topics(None));
    let asked = ask(&link, topics());
    first.wait(|input| is_asked(&input, &topics())).await;
    way.stalled.store(true, Ordering::Release);
    let question = second.wait(|input| is_asked(&input, &topics())).await;
    second.reply(question, Response::Topics(Vec::new(), false)).await;
    assert_eq!(asked.await.unwrap(), Ok(Response::Topics(Vec::new(), false)));
}

#[tokio::test]
async fn a_node_that_takes_connections_and_says_nothing_is_passed_over() {
    let mut node = start(settings(1)).await;
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = mute.local_addr().unwrap().port();
    let nobody = translate::peer_of(NodeKey::from_secret(&[9; 32]).node());
    let address = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{nobody}").parse().unwrap();
    let config = client(vec![address, node.address.clone()]);
    let link = Arc::new(RemoteLink::connect(&config).await.unwrap());
    let asked = ask(&link, publish(10));
    let question = node.asked_to_publish().await;
    node.reply(question, acknowledged(2)).await;
    assert_eq!(asked.await.unwrap(), Ok(acknowledged(2)));
}

fn is_asked(input: &Input, wanted: &Request) -> Option<QuestionId> {
    match input {
        Input::Asked { question, request, .. } if request == wanted => Some(*question),
        _ => None,
    }
}
