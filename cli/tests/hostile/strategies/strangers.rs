//! Nodes that do not exist, and nodes that come for a moment.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use antiphon::{
    model::NodeId,
    wire::{ClientRequest, MemberState, Peer as Told, Refusal, Request, Response},
};
use antiphon_node::{Client, ClientConfig, Multiaddr, Node, NodeConfig};
use futures::{
    FutureExt, StreamExt,
    future::{LocalBoxFuture, join_all},
    stream::FuturesUnordered,
};
use tokio::net::TcpListener;

use crate::{
    cluster::now,
    peer::{Asked, Peer},
    stage::Target,
};

/// Peers that invent nodes, spread over all nodes, and how many each answer has.
const INVENTORS: usize = 12;
const INVENTED: usize = 2_000;

/// Dials that all nodes together may be made to do: 16 in five seconds of each, and some more.
const INVENTED_DIALS_MAX: usize = 300;

/// Nodes that come at a time, and for how long each stays.
const VISITORS: usize = 32;
const VISIT: Duration = Duration::from_millis(150);

/// Dials of the addresses that these named: 64 in five seconds of each node, and some more.
const VISITORS_DIALS_MAX: usize = 800;

/// Time after which an honest node comes as well, and until which it must have joined.
const HONEST_AFTER: Duration = Duration::from_secs(3);

/// Answers what nodes ask with thousands of nodes that are all at the address of a third party.
pub(super) fn nodes_invented(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let (victim, address) = Victim::listen().await;
        let told = Cell::new(0_usize);
        let peers = target.nodes.iter().cycle().take(INVENTORS).map(|node| {
            let (target, address, told) = (&target, &address, &told);
            async move {
                while !target.is_over() {
                    let second = Duration::from_secs(1);
                    let lying = lie(target, node, address, told);
                    let _: Result<_, _> = tokio::time::timeout(second, lying).await;
                }
            }
        });
        tokio::select! {
            _ = join_all(peers) => {}
            () = victim.count() => {}
            () = target.over() => {}
        }
        let (told, dials) = (told.get(), victim.dials.get());
        if told == 0 || dials > INVENTED_DIALS_MAX {
            target.problem(format!("{dials} dials of a third party, after {told} tales"));
        }
        format!("{INVENTORS} peers told of {told} nodes that do not exist, {dials} dials followed")
    }
    .boxed_local()
}

async fn lie(
    target: &Target,
    node: &Multiaddr,
    address: &Multiaddr,
    told: &Cell<usize>,
) -> Option<()> {
    let own = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
    let mut peer = Peer::connect_to_answer(node, &target.names, own).await.ok()?;
    let mut answering = FuturesUnordered::new();
    loop {
        tokio::select! {
            asked = peer.asked() => answering.push(answer_all(asked?, address, told)),
            Some(()) = answering.next() => {}
        }
    }
}

async fn answer_all(mut asked: Asked, address: &Multiaddr, told: &Cell<usize>) {
    while answer(&mut asked, address, told).await.is_some() {}
}

async fn answer(asked: &mut Asked, address: &Multiaddr, told: &Cell<usize>) -> Option<()> {
    let (number, request) = asked.next().await.ok()?;
    let response = if matches!(request, Request::Client(ClientRequest::Peers)) {
        told.set(told.get() + INVENTED);
        Response::Peers((0..INVENTED).map(|_| invented(address)).collect())
    } else {
        Response::Refused(Refusal::Unsupported(None))
    };
    asked.answer(number, &response).await.ok()
}

fn invented(address: &Multiaddr) -> Told {
    let mut name = [0; 32];
    fastrand::fill(&mut name);
    Told {
        node: NodeId::from_bytes(name),
        state: MemberState::Alive,
        round_trip_us: None,
        addresses: vec![address.to_string()],
        stopped: false,
        newcomer_ms: None,
        wall: None,
        clock_offset_ms: None,
        program: None,
    }
}

/// Comes as a node with a fresh key and goes again, over and over. It names the address of a third
/// party as its own. Meanwhile an honest node joins.
pub(super) fn members_flooded(target: Target) -> LocalBoxFuture<'static, String> {
    async move {
        let (victim, address) = Victim::listen().await;
        let came = Cell::new(0_usize);
        let visits = target.nodes.iter().cycle().take(VISITORS).map(|node| {
            let (target, address, came) = (&target, &address, &came);
            async move {
                while !target.is_over() {
                    let own = address.clone();
                    let visitor = Peer::connect_to_answer(node, &target.names, own).await;
                    came.set(came.get() + usize::from(visitor.is_ok()));
                    tokio::time::sleep(VISIT).await;
                }
            }
        });
        let honest = async {
            tokio::time::sleep(HONEST_AFTER).await;
            let took = join_honestly(&target).await;
            target.over().await;
            took
        };
        let took = tokio::select! {
            _ = join_all(visits) => None,
            () = victim.count() => None,
            took = honest => took,
        };
        let (came, dials) = (came.get(), victim.dials.get());
        if dials > VISITORS_DIALS_MAX {
            target.problem(format!("{dials} dials of a third party that {came} nodes named"));
        }
        let joined = if let Some(took) = took {
            format!("an honest node joined within {} ms", took.as_millis())
        } else {
            target.problem("an honest node could not join meanwhile".to_owned());
            "an honest node did not join".to_owned()
        };
        format!(
            "{came} nodes came for {} ms and named a third party as their address, {dials} dials \
             followed; {joined}",
            VISIT.as_millis()
        )
    }
    .boxed_local()
}

/// Starts a node, and waits until the first node counts it as one; how long that took.
async fn join_honestly(target: &Target) -> Option<Duration> {
    let data = tempfile::tempdir().ok()?;
    let network = target.names.network();
    let config = NodeConfig::on_loopback(data.path()).network(network.parse().ok()?);
    let began: Instant = now();
    let node = Node::start(config.bootstrap(target.nodes.clone())).await.ok()?;
    let config = ClientConfig::new().network(network.parse().ok()?).nodes([target.first().clone()]);
    let client = Client::connect(config).await.ok()?;
    let mut took = None;
    while took.is_none() && !target.is_over() {
        let peers = client.peers().await.unwrap_or_default();
        let is_there = |peer: &Told| peer.node == node.id() && peer.state == MemberState::Alive;
        took = peers.iter().any(is_there).then(|| began.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(node.stop().await);
    took
}

/// A third party that only counts who knocks.
struct Victim {
    listener: TcpListener,
    dials: Cell<usize>,
}

impl Victim {
    async fn listen() -> (Self, Multiaddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let address = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
        (Self { listener, dials: Cell::new(0) }, address)
    }

    async fn count(&self) {
        loop {
            if self.listener.accept().await.is_ok() {
                self.dials.set(self.dials.get() + 1);
            }
        }
    }
}
