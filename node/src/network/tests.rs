//! Networks that meet over loopback. Each runs on a task of its own, as in a node.

use std::{path::Path, pin::pin, time::Duration};

use antiphon::{
    engine::Asker,
    limits::MESSAGE_BYTES_MAX,
    model::{
        Blob, Draft, Hash, Incarnation, NodeKey, ProducerId, Realm, Record, Run, Stamp, TopicName,
        WallClock, encode_record,
    },
    wire::{Acks, ClientRequest, NodeRequest, Publish, Refusal},
};
use libp2p::multiaddr::Protocol;
use tokio::{sync::mpsc, task::JoinHandle};

use super::*;
use crate::{
    client::{ClientConfig, ConnectError, Link, LinkError},
    operator::OperatorKey,
    platform::tasks,
};

mod admission;
mod failover;

type Command = Box<dyn FnOnce(&mut Network) + Send>;

/// A network on a task of its own.
struct Running {
    node: NodeId,
    address: Multiaddr,
    inputs: mpsc::Receiver<Input>,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

fn settings(seed: u8) -> Settings {
    Settings {
        secret: Zeroizing::new([seed; 32]),
        network: "test".parse().unwrap(),
        listen: Listen::At(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()]),
        bootstrap: Vec::new(),
        alone: false,
        discovery: false,
        runtime_directory: None,
        operator: None,
        closed: None,
        network_file: None,
    }
}

async fn start(settings: Settings) -> Running {
    let node = NodeKey::from_secret(&settings.secret).node();
    let mut network = Network::start(settings).await.unwrap();
    let peer = translate::peer_of(node);
    let address = network.addresses()[0].clone().with(Protocol::P2p(peer));
    let (told, inputs) = mpsc::channel(4_096);
    let (commands, mut commanded) = mpsc::channel::<Command>(16);
    let task = tasks::spawn("network under test", async move {
        loop {
            tokio::select! {
                input = network.next() => if told.send(input).await.is_err() { return },
                command = commanded.recv() => match command {
                    Some(command) => command(&mut network),
                    None => return,
                },
            }
        }
    });
    Running { node, address, inputs, commands, task }
}

impl Running {
    async fn run(&self, command: impl FnOnce(&mut Network) + Send + 'static) {
        assert!(self.commands.send(Box::new(command)).await.is_ok());
    }

    /// Waits for an input; the others are passed over.
    async fn wait<T>(&mut self, mut select: impl FnMut(Input) -> Option<T>) -> T {
        let waiting = async {
            loop {
                if let Some(found) = select(self.inputs.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it happens in time")
    }

    async fn connected(&mut self, to: NodeId) -> Contact {
        self.wait(|input| match input {
            Input::Connected(contact) if contact.node == to => Some(contact),
            _ => None,
        })
        .await
    }

    async fn disconnected(&mut self, from: NodeId) {
        self.wait(|input| matches!(input, Input::Disconnected(node) if node == from).then_some(()))
            .await;
    }

    async fn told(&mut self, id: AskId) -> Result<Response, Failure> {
        self.wait(|input| match input {
            Input::Told { ask, result } if ask == id => Some(result),
            _ => None,
        })
        .await
    }

    async fn asked(&mut self) -> (QuestionId, Option<NodeId>, Request) {
        self.wait(|input| match input {
            Input::Asked { question, asker, request } => Some((question, asker.node(), request)),
            _ => None,
        })
        .await
    }

    /// Stops as if it was killed.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Two nodes, the second of which joined through the first.
async fn pair() -> (Running, Running) {
    let mut first = start(settings(1)).await;
    let bootstrap = vec![first.address.clone()];
    let mut second = start(Settings { bootstrap, ..settings(2) }).await;
    first.connected(second.node).await;
    second.connected(first.node).await;
    (first, second)
}

fn batch(topic: TopicId, size: usize) -> Batch {
    let key = NodeKey::from_secret(&[9; 32]);
    // Noise, which compression makes no smaller.
    let mut random = fastrand::Rng::with_seed(1);
    let payload: Vec<u8> = (0..size).map(|_| random.u8(..)).collect();
    let mut body = Vec::new();
    encode_record(&Record::new(WallClock(1), payload), &mut body).unwrap();
    let draft = Draft {
        topic,
        incarnation: Incarnation(1),
        previous: None,
        stamp: Stamp::at(WallClock(1)),
        runs: vec![Run { producer: ProducerId([1; 16]), first: 0, count: 1 }],
    };
    draft.seal(&body.into(), &key)
}

fn publish(size: usize) -> Request {
    Request::Client(ClientRequest::Publish(Publish {
        topic: "t".parse().unwrap(),
        producer: ProducerId([1; 16]),
        first: 0,
        records: Blob(vec![0; size].into()),
        acks: Acks::One,
        timeout_ms: 0,
        retried: false,
    }))
}

#[tokio::test]
async fn nodes_meet_by_bootstrap_and_ask_each_other() {
    let (mut first, mut second) = pair().await;
    let to = first.node;
    second
        .run(move |network| network.ask(AskId(1), to, Request::Client(ClientRequest::Peers)))
        .await;
    let (question, _, request) = first.asked().await;
    assert_eq!(request, Request::Client(ClientRequest::Peers));
    assert_eq!(question.0 % 2, 0, "odd numbers are for questions within the process");
    first.run(move |network| network.answer(question, Response::Kept(None))).await;
    assert_eq!(second.told(AskId(1)).await, Ok(Response::Kept(None)));
    // Signs of life come by themselves.
    second
        .wait(|input| matches!(input, Input::Heard(node, Some(_)) if node == to).then_some(()))
        .await;
}

#[tokio::test]
async fn who_misbehaves_is_disconnected_and_kept_away() {
    let (mut first, mut second) = pair().await;
    let peer = translate::peer_of(second.node);
    first
        .run(move |network| {
            for _ in 0..5 {
                assert!(network.peers.is_connected(&peer));
                network.misbehaved(peer, rpc::Misdeed::Garbage);
            }
            assert!(!network.peers.is_connected(&peer) && !network.is_wanted(&peer));
        })
        .await;
    first.disconnected(second.node).await;
    second.disconnected(first.node).await;
}

#[tokio::test]
async fn the_table_names_who_holds_a_topic() {
    let (first, mut second) = pair().await;
    let topic = TopicId::from_bytes([5; 32]);
    let holder = first.node;
    first.run(move |network| network.provide(topic)).await;
    // An announcement is on its way for a moment.
    loop {
        second.run(move |network| network.locate(topic)).await;
        let located = |input| match input {
            Input::Located(id, nodes) if id == topic => Some(nodes),
            _ => None,
        };
        if second.wait(located).await == [holder] {
            return;
        }
    }
}

#[tokio::test]
async fn whom_the_table_names_is_not_dialled() {
    let first = start(settings(1)).await;
    let bootstrap = vec![first.address.clone()];
    let mut second = start(Settings { bootstrap: bootstrap.clone(), ..settings(2) }).await;
    let mut third = start(Settings { bootstrap, ..settings(3) }).await;
    second.connected(first.node).await;
    third.connected(first.node).await;
    let topic = TopicId::from_bytes([5; 32]);
    third.run(move |network| network.provide(topic)).await;
    let peer = translate::peer_of(third.node);
    let mut is_named = false;
    while !is_named {
        second.run(move |network| network.locate(topic)).await;
        let located = |input| match input {
            Input::Located(id, nodes) if id == topic => Some(nodes),
            _ => None,
        };
        is_named = second.wait(located).await == [third.node];
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    second
        .run(move |network| {
            let _ = tell.send(network.peers.is_connected(&peer));
        })
        .await;
    assert_eq!(told.await, Ok(false));
}

#[tokio::test]
async fn what_only_a_node_may_ask_waits_until_it_has_answered() {
    let (mut first, mut second) = pair().await;
    let (to, back) = (first.node, second.node);
    let stopping = Request::Node(NodeRequest::Stopping);
    second.run(move |network| network.ask(AskId(1), to, stopping)).await;
    second.run(move |network| network.ask(AskId(2), to, ClientRequest::Peers.into())).await;
    // What came later is handed out before.
    let (_, from, request) = first.asked().await;
    assert_eq!((from, request), (None, ClientRequest::Peers.into()));
    first.run(move |network| network.ask(AskId(3), back, ClientRequest::Peers.into())).await;
    let (question, ..) = second.asked().await;
    second.run(move |network| network.answer(question, Response::Kept(None))).await;
    let (_, from, request) = first.asked().await;
    assert_eq!((from, request), (Some(second.node), Request::Node(NodeRequest::Stopping)));
}

#[tokio::test]
async fn networks_stay_apart() {
    let mut first = start(settings(1)).await;
    let bootstrap = vec![first.address.clone()];
    let network = "other".parse().unwrap();
    let mut foreign = start(Settings { network, bootstrap, ..settings(2) }).await;
    // It dials at once, is shunned, and is told nothing: what is told first is of our own node.
    let bootstrap = vec![first.address.clone()];
    let mut own = start(Settings { bootstrap, ..settings(3) }).await;
    own.connected(first.node).await;
    let contact = first.wait(|input| match input {
        Input::Connected(contact) => Some(contact),
        _ => None,
    });
    assert_eq!(contact.await.node, own.node);
    let to = first.node;
    foreign
        .run(move |network| network.ask(AskId(1), to, Request::Client(ClientRequest::Peers)))
        .await;
    assert_eq!(foreign.told(AskId(1)).await, Err(Failure::Unreachable));
}

#[tokio::test]
async fn oversize_is_a_failure_and_harms_nothing() {
    let (mut first, mut second) = pair().await;
    let to = first.node;
    second.run(move |network| network.ask(AskId(1), to, publish(MESSAGE_BYTES_MAX))).await;
    assert_eq!(second.told(AskId(1)).await, Err(Failure::Malformed));
    // One that just fits goes through, on the same connection.
    second.run(move |network| network.ask(AskId(2), to, publish(MESSAGE_BYTES_MAX - 100))).await;
    let (question, _, request) = first.asked().await;
    assert_eq!(request, publish(MESSAGE_BYTES_MAX - 100));
    first.run(move |network| network.answer(question, Response::Kept(None))).await;
    assert_eq!(second.told(AskId(2)).await, Ok(Response::Kept(None)));
}

#[tokio::test]
async fn more_requests_than_streams_wait_their_turn() {
    const COUNT: u64 = 1_000;
    let (mut first, mut second) = pair().await;
    let to = first.node;
    second
        .run(move |network| {
            (0..COUNT)
                .for_each(|ask| network.ask(AskId(ask), to, Request::Client(ClientRequest::Peers)));
        })
        .await;
    for _ in 0..COUNT {
        let (question, _, _) = first.asked().await;
        first.run(move |network| network.answer(question, Response::Kept(None))).await;
    }
    for _ in 0..COUNT {
        let result = second.wait(|input| match input {
            Input::Told { result, .. } => Some(result),
            _ => None,
        });
        assert_eq!(result.await, Ok(Response::Kept(None)));
    }
}

#[tokio::test]
async fn a_killed_node_is_told_of_everywhere() {
    let (mut first, second) = pair().await;
    let (first_node, second_node) = (first.node, second.node);
    first
        .run(move |network| {
            network.ask(AskId(1), second_node, Request::Client(ClientRequest::Peers));
        })
        .await;
    second
        .run(move |network| {
            network.ask(AskId(2), first_node, Request::Client(ClientRequest::Peers));
        })
        .await;
    let (question, ..) = first.asked().await;
    second.kill().await;
    let mut told = None;
    let mut abandoned = None;
    first
        .wait(|input| match input {
            Input::Told { ask: AskId(1), result } => {
                told = Some(result);
                None
            }
            Input::Abandoned(question) => {
                abandoned = Some(question);
                None
            }
            Input::Disconnected(node) => (node == second_node).then_some(()),
            _ => None,
        })
        .await;
    assert_eq!(told, Some(Err(Failure::Unreachable)));
    assert_eq!(abandoned, Some(question));
    first
        .run(move |network| {
            network.ask(AskId(3), second_node, Request::Client(ClientRequest::Peers));
        })
        .await;
    assert_eq!(first.told(AskId(3)).await, Err(Failure::Unreachable));
}

#[tokio::test]
async fn who_was_disconnected_can_be_dialled_again() {
    let (mut first, mut second) = pair().await;
    let to = second.node;
    first.run(move |network| network.disconnect(to)).await;
    first.disconnected(second.node).await;
    second.disconnected(first.node).await;
    let address = translate::split_peer(second.address.clone()).0.to_string();
    let contact = Contact::new(second.node, vec![address]);
    first.run(move |network| network.dial(&contact)).await;
    first.connected(second.node).await;
    second.connected(first.node).await;
}

/// Has a node answer another one, which then believes that it is a node.
async fn introduce(known: &mut Running, to: &Running) {
    let node = known.node;
    to.run(move |network| network.ask(AskId(100), node, ClientRequest::Peers.into())).await;
    let (question, ..) = known.asked().await;
    known.run(move |network| network.answer(question, Response::Kept(None))).await;
}

async fn is_followed(first: &Running, topic: TopicId) -> bool {
    let (tell, told) = tokio::sync::oneshot::channel();
    first
        .run(move |network| {
            let mesh = network.protocols.mesh(topic).hash();
            let _ = tell.send(network.followers.is_followed_beyond(&mesh, &[]));
        })
        .await;
    told.await.unwrap()
}

#[tokio::test]
async fn what_a_peer_gossips_is_read_once_it_has_answered_as_a_node() {
    let (mut first, mut second) = pair().await;
    let topic = TopicId::from_bytes([5; 32]);
    second.run(move |network| network.follow(topic)).await;
    // What was sent before a ping that was answered has come.
    for _ in 0..2 {
        let node = first.node;
        let pinged = |input| matches!(input, Input::Heard(of, Some(_)) if of == node).then_some(());
        second.wait(pinged).await;
    }
    assert!(!is_followed(&first, topic).await);
    introduce(&mut second, &first).await;
    first.told(AskId(100)).await.unwrap();
    while !is_followed(&first, topic).await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn gossip_reaches_a_follower() {
    let (mut first, mut second) = pair().await;
    introduce(&mut second, &first).await;
    introduce(&mut first, &second).await;
    let name: TopicName = "t".parse().unwrap();
    let topic = Realm::open("test".parse().unwrap()).topic(&name);
    second.run(move |network| network.follow(topic)).await;
    let (small, large) = (batch(topic, 10), batch(topic, 1_000_000));
    // Whether the other one has heard of the follower yet is not told: so it is tried again.
    for batch in [small, large] {
        let sent = batch.clone();
        let gossiped = second.wait(|input| match input {
            Input::Gossiped(gossip) => Some(gossip),
            _ => None,
        });
        let sending = async {
            loop {
                let batch = sent.clone();
                first.run(move |network| network.gossip(&batch, &[])).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let gossip: Gossip =
            tokio::select! { gossip = gossiped => gossip, () = sending => unreachable!() };
        match gossip {
            Gossip::Batch(received) => assert_eq!(received, batch),
            Gossip::Announcement(announced) => assert_eq!(announced.hash, Hash(batch.hash().0)),
        }
    }
}

#[tokio::test]
async fn nodes_of_one_machine_find_each_other() {
    let place = tempfile::tempdir().unwrap();
    let near = |seed| Settings {
        discovery: true,
        runtime_directory: Some(place.path().join("run")),
        ..settings(seed)
    };
    let mut first = start(near(1)).await;
    let second = start(near(2)).await;
    let contact = first.wait(|input| match input {
        Input::Discovered(contact) => Some(contact),
        _ => None,
    });
    let contact = contact.await;
    assert_eq!(contact.node, second.node);
    first.run(move |network| network.dial(&contact)).await;
    first.connected(second.node).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error() {
    let first = start(settings(1)).await;
    let (address, _) = translate::split_peer(first.address.clone());
    let listen = Listen::At(vec![address.clone()]);
    let refused = Network::start(Settings { listen, ..settings(2) }).await;
    let error = refused.err().unwrap().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(error.contains("in use"), "{error}");
}

#[tokio::test]
async fn a_bootstrap_node_may_come_later() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    let late = Settings { listen: Listen::At(vec![address.clone()]), ..settings(1) };
    let peer = translate::peer_of(NodeKey::from_secret(&late.secret).node());
    let bootstrap = vec![address.with(Protocol::P2p(peer))];
    let mut early = start(Settings { bootstrap, ..settings(2) }).await;
    // Its first attempt is in vain.
    early.wait(|input| matches!(input, Input::Listening(_)).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let late = start(late).await;
    early.connected(late.node).await;
}

/// Answers every question with its own name.
fn serve(mut node: Running) -> JoinHandle<()> {
    tasks::spawn("answers", async move {
        let name = node.node.to_string();
        while let Some(input) = node.inputs.recv().await {
            if let Input::Asked { question, asker, .. } = input {
                assert!(matches!(asker, Asker::Client(Some(_))), "no operator: {asker:?}");
                let name = Response::Refused(Refusal::TopicExists(name.clone()));
                node.run(move |network| network.answer(question, name)).await;
            }
        }
    })
}

fn client(nodes: Vec<Multiaddr>) -> ClientConfig {
    let timeout = Some(Duration::from_secs(5));
    ClientConfig { network: "test".parse().unwrap(), nodes, timeout, ..ClientConfig::default() }
}

/// How the node knows the client that a link with this key belongs to.
async fn asker_of(node: &mut Running, key: Option<OperatorKey>) -> (RemoteLink, Asker) {
    let config = ClientConfig { operator_key: key, ..client(vec![node.address.clone()]) };
    let link = RemoteLink::connect(&config).await.unwrap();
    let asked = {
        let mut asking = pin!(link.ask(ClientRequest::Outbox(None).into(), Duration::from_secs(5)));
        let asker = node.wait(|input| match input {
            // The link itself asks for other nodes.
            Input::Asked { asker, request: Request::Client(ClientRequest::Outbox(_)), .. } => {
                Some(asker)
            }
            _ => None,
        });
        tokio::select! {
            asker = asker => asker,
            result = &mut asking => panic!("nobody answers, and it got {result:?}"),
        }
    };
    (link, asked)
}

#[tokio::test]
async fn a_client_is_the_operator_by_its_key_and_by_no_address() {
    let place = tempfile::tempdir().unwrap();
    let key = |seed: u8| OperatorKey::from_secret(Zeroizing::new([seed; 32]));
    let operator = OperatorPlace { node: key(7).id(), file: place.path().join("operator") };
    let runtime_directory = Some(place.path().join("run"));
    let settings = Settings { operator: Some(operator), runtime_directory, ..settings(1) };
    let mut node = start(settings).await;
    // All of these are of this machine.
    let (_anonymous, asker) = asker_of(&mut node, None).await;
    assert!(matches!(asker, Asker::Client(Some(_))), "{asker:?}");
    let (_other, asker) = asker_of(&mut node, Some(key(8))).await;
    assert_eq!(asker, Asker::Client(Some(key(8).id())), "another node's operator");
    // More at the same time than one peer has connections.
    let mut links = Vec::new();
    for _ in 0..8 {
        let (link, asker) = asker_of(&mut node, Some(key(7))).await;
        assert_eq!(asker, Asker::Operator);
        links.push(link);
    }
}

async fn who(link: &RemoteLink) -> Result<String, LinkError> {
    match link.ask(Request::Client(ClientRequest::Peers), Duration::from_secs(10)).await? {
        Response::Refused(Refusal::TopicExists(name)) => Ok(name),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_link_goes_on_to_the_next_node() {
    let (first, second) = (start(settings(1)).await, start(settings(2)).await);
    let names = [first.node.to_string(), second.node.to_string()];
    let config = client(vec![first.address.clone(), second.address.clone()]);
    let answering = serve(first);
    let _second = serve(second);
    let link = RemoteLink::connect(&config).await.unwrap();
    assert_eq!(who(&link).await.as_ref(), Ok(&names[0]));
    answering.abort();
    assert_eq!(who(&link).await.as_ref(), Ok(&names[1]));
    // A node that is not there is passed over from the start.
    let link = RemoteLink::connect(&config).await.unwrap();
    assert_eq!(who(&link).await.as_ref(), Ok(&names[1]));
}

#[tokio::test]
async fn a_link_finds_a_node_of_this_machine() {
    let place = tempfile::tempdir().unwrap();
    let place: &Path = &place.path().join("run");
    let runtime_directory = Some(place.to_owned());
    let node = start(Settings { discovery: true, runtime_directory, ..settings(1) }).await;
    let name = node.node.to_string();
    let _node = serve(node);
    let link = RemoteLink::connect_by(&client(Vec::new()), place).await.unwrap();
    assert_eq!(who(&link).await, Ok(name));
}

#[tokio::test]
async fn a_link_finds_a_node_that_is_started_after_it() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path().join("run");
    let config = client(Vec::new());
    let linked = tasks::spawn("finds a node", {
        let place = place.clone();
        async move { RemoteLink::connect_by(&config, &place).await }
    });
    // It has looked, and found none.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let node =
        start(Settings { discovery: true, runtime_directory: Some(place.clone()), ..settings(1) })
            .await;
    let name = node.node.to_string();
    let _node = serve(node);
    let link = linked.await.unwrap().unwrap();
    assert_eq!(who(&link).await, Ok(name));
}

#[tokio::test]
async fn a_link_says_where_it_looked() {
    let place = tempfile::tempdir().unwrap();
    let config = ClientConfig { timeout: Some(Duration::ZERO), ..client(Vec::new()) };
    match RemoteLink::connect_by(&config, place.path()).await.unwrap_err() {
        ConnectError::NoNode { network, looked_in } => {
            assert_eq!(network, "test");
            assert_eq!(looked_in, [place.path().join("test").display().to_string()]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_waits_for_the_only_node_of_the_machine_to_come_back() {
    let place = tempfile::tempdir().unwrap();
    let settings = || Settings {
        discovery: true,
        runtime_directory: Some(place.path().to_owned()),
        ..settings(1)
    };
    let node = start(settings()).await;
    let name = node.node.to_string();
    let first = serve(node);
    let link = RemoteLink::connect_by(&client(Vec::new()), place.path()).await.unwrap();
    let mut connection = link.connection();
    assert_eq!(who(&link).await.as_ref(), Ok(&name));
    first.abort();
    let _ = first.await;
    connection.lost().await;
    let none = link
        .ask(Request::Client(ClientRequest::Peers), Duration::from_millis(1))
        .await
        .unwrap_err();
    assert!(matches!(none, LinkError::NotSent(_)), "{none:?}");
    let (asked, ()) = tokio::join!(who(&link), async {
        // It listens elsewhere than before.
        tokio::time::sleep(Duration::from_millis(300)).await;
        serve(start(settings()).await);
    });
    assert_eq!(asked, Ok(name));
}

#[tokio::test]
async fn a_link_says_what_it_tried() {
    let node = start(settings(1)).await;
    let name = translate::peer_of(node.node);
    let nobody: Multiaddr = format!("/ip4/127.0.0.1/tcp/1/p2p/{name}").parse().unwrap();
    match RemoteLink::connect(&client(vec![nobody])).await.unwrap_err() {
        ConnectError::Unreachable(lines) => {
            assert_eq!(lines.len(), 1);
            assert!(lines[0].starts_with("/ip4/127.0.0.1/tcp/1: "), "{lines:?}");
            assert!(lines[0].contains("refused"), "{lines:?}");
        }
        other => panic!("{other:?}"),
    }
    let (bare, _) = translate::split_peer(node.address.clone());
    let refused = RemoteLink::connect(&client(vec![bare.clone()])).await;
    assert_eq!(refused.unwrap_err(), ConnectError::WithoutPeer(bare));
}

#[tokio::test]
async fn a_link_to_another_network_says_so() {
    let node = start(Settings { network: "other".parse().unwrap(), ..settings(1) }).await;
    let config = client(vec![node.address.clone()]);
    let said = match RemoteLink::connect(&config).await {
        Ok(link) => who(&link).await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    let named = "is of network `other`, not `test`";
    assert!(said.contains(named) || said.contains("another network"), "{said}");
}
