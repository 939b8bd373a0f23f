//! What a newer program may send: bytes over a real stream to a real node.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use antiphon::wire::{ClientRequest, Refusal, Request, Response};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{
    Multiaddr, Transport,
    core::{
        Endpoint,
        muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox},
        transport::{DialOpts, PortUse},
        upgrade::Version,
    },
    identity::Keypair,
    noise, tcp, yamux,
};

use crate::library::{SOON, node};

/// What a stream begins with: libp2p's negotiation, and the protocol that is negotiated.
const LINES: [&str; 2] = ["/multistream/1.0.0\n", "/antiphon/default/rpc/2\n"];

/// A connection to a node with one stream for requests.
struct Connection {
    muxer: StreamMuxerBox,
    stream: SubstreamBox,
}

impl Connection {
    async fn open(node: Multiaddr) -> Self {
        let key = Keypair::generate_ed25519();
        let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(&key).expect("a key"))
            .multiplex(yamux::Config::default())
            .map(|(_, muxer), _| StreamMuxerBox::new(muxer))
            .boxed();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dialled = transport.dial(node, options).expect("an address");
        let mut muxer = dialled.await.expect("the node is there");
        let stream = poll_fn(|context| muxer.poll_outbound_unpin(context)).await;
        let mut connection = Self { muxer, stream: stream.expect("the node takes streams") };
        let said: Vec<u8> = LINES.into_iter().flat_map(framed).collect();
        assert_eq!(connection.exchange(&said, said.len()).await, said, "it is agreed on");
        connection
    }

    /// Sends bytes, and reads some.
    async fn exchange(&mut self, bytes: &[u8], length: usize) -> Vec<u8> {
        let Self { muxer, stream } = self;
        let mut answer = vec![0; length];
        let exchanged = async {
            stream.write_all(bytes).await.expect("the stream goes on");
            stream.flush().await.expect("the stream goes on");
            stream.read_exact(&mut answer).await.expect("the stream goes on");
        };
        let mut exchanged = pin!(tokio::time::timeout(SOON, exchanged));
        poll_fn(|context| {
            carry(muxer, context);
            exchanged.as_mut().poll(context)
        })
        .await
        .expect("the node answers");
        answer
    }

    /// Sends a message as a request, and reads the answer.
    async fn ask(&mut self, number: u64, message: &[u8]) -> Response {
        let length = u32::try_from(message.len()).expect("it is small");
        let frame = [&number.to_be_bytes()[..], &length.to_be_bytes(), message].concat();
        let head = self.exchange(&frame, 12).await;
        assert_eq!(head[..8], number.to_be_bytes());
        let length = u32::from_be_bytes(head[8..].try_into().expect("4 bytes"));
        let answer = self.exchange(&[], usize::try_from(length).expect("it fits")).await;
        Response::decode(&answer.into()).expect("an answer")
    }
}

/// Moves the bytes of a connection. The streams that the node opens are dropped.
fn carry(muxer: &mut StreamMuxerBox, context: &mut Context<'_>) {
    while let Poll::Ready(stream) = muxer.poll_inbound_unpin(context) {
        stream.expect("the connection lives");
    }
    while let Poll::Ready(event) = muxer.poll_unpin(context) {
        event.expect("the connection lives");
    }
}

/// A line as libp2p's negotiation frames it.
fn framed(line: &str) -> Vec<u8> {
    [&[u8::try_from(line.len()).expect("it is short")], line.as_bytes()].concat()
}

/// `[kind, ["for people", 7]]`.
fn unknown(kind: u32) -> Vec<u8> {
    let mut message = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut message);
    let encoded = encoder.array(2).and_then(|it| it.u32(kind)).and_then(|it| it.array(2));
    encoded.and_then(|it| it.str("for people")).and_then(|it| it.u32(7)).expect("memory");
    message
}

#[tokio::test]
async fn a_node_says_which_requests_it_does_not_know_and_goes_on() {
    let (node, _directory) = node(None).await;
    let mut connection = Connection::open(node.addresses()[0].clone()).await;
    for (number, kind) in (1..).zip([40, 47, 4_000_000_000]) {
        let answer = connection.ask(number, &unknown(kind)).await;
        assert_eq!(answer, Response::Refused(Refusal::Unsupported(None)), "request {kind}");
    }
    let malformed = connection.ask(7, b"nonsense").await;
    assert!(matches!(malformed, Response::Refused(Refusal::Invalid(_))), "{malformed:?}");
    let peers = Request::Client(ClientRequest::Peers).encode();
    let answer = connection.ask(8, &peers).await;
    assert!(matches!(&answer, Response::Peers(peers) if peers.len() == 1), "{answer:?}");
    node.stop().await.expect("it stops cleanly");
}
