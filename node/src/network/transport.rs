//! How bytes travel: TCP, Noise and Yamux, with names looked up. The same for nodes and clients.

use std::{error::Error, io, num::NonZeroUsize, sync::Arc, time::Duration};

use either::Either;
use futures::io::BufReader;
use libp2p::{
    PeerId, Swarm, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeout},
        upgrade::Version,
    },
    identity::Keypair,
    noise, swarm,
    swarm::NetworkBehaviour,
    tcp, yamux,
};

use super::{
    admission::{Admission, Judge},
    lobby::Lobby,
    names::Names,
    translate::CONNECT_TIMEOUT,
};

/// Makes a swarm of this behaviour. In a closed network its judge decides who gets in.
pub(super) fn swarm<B: NetworkBehaviour>(
    key: &Keypair,
    behaviour: B,
    judge: Option<Arc<Judge>>,
) -> Result<Swarm<B>, noise::Error> {
    let transport = transport(key, judge)?;
    Ok(Swarm::new(transport, behaviour, key.public().to_peer_id(), config()))
}

fn transport(
    key: &Keypair,
    judge: Option<Arc<Judge>>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    // Nagle's algorithm is off by default.
    let tcp = tcp::tokio::Transport::new(tcp::Config::default());
    let buffered = tcp.map(|stream, _| BufReader::with_capacity(READ_BUFFER_BYTES, stream));
    let secured = buffered.upgrade(Version::V1Lazy).authenticate(Admission::new(key, judge)?);
    let multiplexed = secured
        .multiplex(multiplexer())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .map_err(cause);
    let timed = TransportTimeout::new(multiplexed, CONNECT_TIMEOUT).boxed();
    Ok(Lobby::over(Names::over(timed).boxed()).boxed())
}

/// An error as it was before the layers above TCP wrapped it: [`Either`] hides what it holds.
fn cause<Noise, Yamux>(error: Either<Either<io::Error, Noise>, Yamux>) -> io::Error
where
    Noise: Error + Send + Sync + 'static,
    Yamux: Error + Send + Sync + 'static,
{
    match error {
        Either::Left(Either::Left(tcp)) => tcp,
        Either::Left(Either::Right(noise)) => io::Error::other(noise),
        Either::Right(yamux) => io::Error::other(yamux),
    }
}

fn multiplexer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(STREAMS_MAX);
    config
}

fn config() -> swarm::Config {
    swarm::Config::with_tokio_executor()
        // Saves the round trip in which a substream's protocol would be agreed on.
        .with_substream_upgrade_protocol_override(Version::V1Lazy)
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        .with_max_negotiating_inbound_streams(STREAMS_NEGOTIATED_MAX)
        .with_per_connection_event_buffer_size(CONNECTION_EVENTS_MAX)
        .with_notify_handler_buffer_size(CONNECTION_COMMANDS_MAX)
}

/// Bytes that are taken from a socket at a time: of a large message Noise would take 8 KiB. A
/// connection over which much has come keeps as much memory.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Two nodes without a common topic have nothing to say but pings, which do not count as use.
/// They must stay connected all the same: a connection that is closed looks like a node that
/// died. What is dead is found by pings, long before this.
const IDLE_TIMEOUT: Duration = Duration::from_hours(24);

/// Streams of one connection. A peer of ours has some ten; the table opens one for each question.
const STREAMS_MAX: usize = 128;

/// Streams of one connection whose protocol is not agreed on yet. 256 KiB may wait on each.
const STREAMS_NEGOTIATED_MAX: usize = 32;

/// Events that a connection may have ready before it stops reading: the default of 7 makes it
/// stop at each burst of small requests.
const CONNECTION_EVENTS_MAX: usize = 128;

/// Commands that may wait for one connection. When it is full the whole swarm waits.
const CONNECTION_COMMANDS_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
