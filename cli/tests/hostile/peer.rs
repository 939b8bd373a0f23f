//! A libp2p program of its own: any key, any stream, any bytes. It shares no code with a node but
//! the messages.

mod streams;

use std::{io, time::Duration};

use antiphon::wire::{Request, Response};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, SwarmBuilder, identify,
    identity::Keypair,
    noise, ping,
    swarm::{NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle},
    tcp, yamux,
};
use streams::{Heard, Streams};
use tokio::sync::{mpsc, oneshot};

/// Time for a connection or a stream to be there, or not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Commands that wait for one peer.
const COMMANDS_MAX: usize = 64;

/// What a peer pretends to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guise {
    /// It never says what it is.
    Silent,
    /// It says that it is a client.
    Client,
    /// It says that it is a node.
    Node,
}

/// What the peers of a network call their protocols.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    network: String,
    family: String,
    pub(crate) rpc: StreamProtocol,
    pub(crate) kad: StreamProtocol,
}

impl Names {
    pub(crate) fn of(network: &str) -> Self {
        let protocol = |name: String| StreamProtocol::try_from_owned(name).expect("it has a slash");
        Self {
            network: network.to_owned(),
            family: format!("/antiphon/{network}/2"),
            rpc: protocol(format!("/antiphon/{network}/rpc/2")),
            kad: protocol(format!("/antiphon/{network}/kad/2")),
        }
    }

    pub(crate) fn network(&self) -> &str {
        &self.network
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    streams: Streams,
    identify: Toggle<identify::Behaviour>,
    ping: ping::Behaviour,
}

type Answer = oneshot::Sender<io::Result<Stream>>;

/// A connection to one node. It ends when this is dropped.
pub(crate) struct Peer {
    names: Names,
    commands: mpsc::Sender<(StreamProtocol, Answer)>,
    closed: oneshot::Receiver<()>,
    /// Streams that the node has opened.
    heard: mpsc::Receiver<Heard>,
    /// Its own name.
    pub(crate) id: PeerId,
}

impl Peer {
    /// Connects with a fresh key. What the node asks is not answered.
    pub(crate) async fn connect(to: &Multiaddr, names: &Names, guise: Guise) -> io::Result<Self> {
        let key = Keypair::generate_ed25519();
        let connecting = Self::try_connect(to, names, guise, key, None);
        tokio::time::timeout(PATIENCE, connecting).await.map_err(late)?
    }

    /// Connects with a fresh key, as a node that says that it listens at some address, and may
    /// answer what the node asks.
    pub(crate) async fn connect_to_answer(
        to: &Multiaddr,
        names: &Names,
        listens: Multiaddr,
    ) -> io::Result<Self> {
        Self::connect_as(to, names, Keypair::generate_ed25519(), listens).await
    }

    /// The same with a key that was chosen.
    pub(crate) async fn connect_as(
        to: &Multiaddr,
        names: &Names,
        key: Keypair,
        listens: Multiaddr,
    ) -> io::Result<Self> {
        let connecting = Self::try_connect(to, names, Guise::Node, key, Some(listens));
        tokio::time::timeout(PATIENCE, connecting).await.map_err(late)?
    }

    async fn try_connect(
        to: &Multiaddr,
        names: &Names,
        guise: Guise,
        key: Keypair,
        listens: Option<Multiaddr>,
    ) -> io::Result<Self> {
        let id = key.public().to_peer_id();
        let (hears, heard) = mpsc::channel(COMMANDS_MAX);
        let (public, family) = (key.public(), names.family.clone());
        let said = (guise != Guise::Silent)
            .then(|| identify::Behaviour::new(identify::Config::new(family, public)));
        let speaks = if guise == Guise::Node {
            vec![names.kad.clone(), names.rpc.clone()]
        } else {
            Vec::new()
        };
        let behaviour = Behaviour {
            streams: Streams::new(speaks, listens.as_ref().map(|_| hears)),
            identify: Toggle::from(said),
            ping: ping::Behaviour::new(ping::Config::new()),
        };
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .map_err(io::Error::other)?
            .with_behaviour(|_| behaviour)
            .expect("it cannot fail")
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_hours(1))
            })
            .build();
        if let Some(address) = listens {
            swarm.add_external_address(address);
        }
        swarm.dial(to.clone()).map_err(io::Error::other)?;
        let node = loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => break peer_id,
                SwarmEvent::OutgoingConnectionError { error, .. } => {
                    return Err(io::Error::other(error));
                }
                _ => {}
            }
        };
        let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
        let (ended, closed) = oneshot::channel();
        tokio::runtime::Handle::current().spawn(async move {
            run(swarm, node, commanded).await;
            drop(ended);
        });
        Ok(Self { names: names.clone(), commands, closed, heard, id })
    }

    /// Opens a stream.
    pub(crate) async fn open(&self, protocol: &StreamProtocol) -> io::Result<Stream> {
        let (answer, opened) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.commands.send((protocol.clone(), answer)).await.map_err(|_gone| gone())?;
        tokio::time::timeout(PATIENCE, opened).await.map_err(late)?.map_err(|_gone| gone())?
    }

    /// Opens a stream for requests.
    pub(crate) async fn requests(&self) -> io::Result<Requests> {
        Ok(Requests { stream: self.open(&self.names.rpc).await?, next: 0 })
    }

    /// The next stream of requests that the node opens; none when the connection has ended.
    pub(crate) async fn asked(&mut self) -> Option<Asked> {
        loop {
            let (protocol, stream) = self.heard.recv().await?;
            if protocol == self.names.rpc {
                return Some(Asked { stream });
            }
        }
    }

    /// Whether the node has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        !matches!(self.closed.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// Keeps a connection until nobody wants it any more, or the node closes it.
async fn run(
    mut swarm: libp2p::Swarm<Behaviour>,
    node: PeerId,
    mut commands: mpsc::Receiver<(StreamProtocol, Answer)>,
) {
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some((protocol, answer)) => {
                    swarm.behaviour_mut().streams.open(node, protocol, answer);
                }
                None => return,
            },
            event = swarm.select_next_some() => {
                if let SwarmEvent::ConnectionClosed { num_established: 0, .. } = event {
                    return;
                }
            }
        }
    }
}

/// A stream of requests, as raw frames.
pub(crate) struct Requests {
    stream: Stream,
    next: u64,
}

impl Requests {
    /// Sends a request without waiting for its answer.
    pub(crate) async fn send(&mut self, request: &Request) -> io::Result<()> {
        let message = request.encode();
        let claimed = u32::try_from(message.len()).expect("it is small");
        self.send_raw(claimed, &message).await
    }

    /// Sends a frame whose head claims some length, and these bytes.
    pub(crate) async fn send_raw(&mut self, claimed: u32, bytes: &[u8]) -> io::Result<()> {
        let mut frame = self.next.to_be_bytes().to_vec();
        self.next += 1;
        frame.extend_from_slice(&claimed.to_be_bytes());
        frame.extend_from_slice(bytes);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// Sends bytes that go on with what was sent.
    pub(crate) async fn send_more(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Reads the next answer.
    pub(crate) async fn answer(&mut self) -> io::Result<Response> {
        let (_, message) = read_frame(&mut self.stream).await?;
        Response::decode(&message.into()).map_err(io::Error::other)
    }

    /// Waits until the node ends the stream.
    pub(crate) async fn ended(&mut self) {
        let mut rest = [0; 4_096];
        while matches!(self.stream.read(&mut rest).await, Ok(1..)) {}
    }
}

/// A stream of requests of a node.
pub(crate) struct Asked {
    stream: Stream,
}

impl Asked {
    /// The next request, with its number.
    pub(crate) async fn next(&mut self) -> io::Result<(u64, Request)> {
        let (number, message) = read_frame(&mut self.stream).await?;
        Ok((number, Request::decode(&message.into()).map_err(io::Error::other)?))
    }

    pub(crate) async fn answer(&mut self, number: u64, response: &Response) -> io::Result<()> {
        let message = response.encode();
        let length = u32::try_from(message.len()).expect("it is small");
        let head = [number.to_be_bytes().as_slice(), &length.to_be_bytes()].concat();
        self.stream.write_all(&[&head, &message[..]].concat()).await?;
        self.stream.flush().await
    }
}

async fn read_frame(stream: &mut Stream) -> io::Result<(u64, Vec<u8>)> {
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    let number = u64::from_be_bytes(head[..8].try_into().expect("8 bytes"));
    let length = u32::from_be_bytes(head[8..].try_into().expect("4 bytes"));
    let mut message = vec![0; usize::try_from(length).expect("it fits")];
    stream.read_exact(&mut message).await?;
    Ok((number, message))
}
