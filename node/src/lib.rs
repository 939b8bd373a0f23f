//! Durable publish/subscribe without a broker, inside a program.
//!
//! - [`Node`] runs a node: it finds others, keeps its share of the topics on its disk, and serves
//!   clients and other nodes. The `antiphon node` command is little more.
//! - [`Client`] publishes and reads through a node: one elsewhere ([`Client::connect`]), or the
//!   program's own ([`Node::client`]).
//! - [`Topic`] is a handle of one topic: futures that publish, streams that read.
//!
//! Everything that most programs name is here, at the root. The module [`client`] has the rest:
//! what a client says of topics and nodes, and of groups.
//!
//! ```
//! use antiphon_node::{Node, NodeConfig, Record, Start};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #   let directory = tempfile::tempdir()?;
//! #   let data = directory.path();
//!     // Alone, for the sake of the example. `NodeConfig::new(data)` finds the nodes of the LAN.
//!     let node = Node::start(NodeConfig::on_loopback(data)).await?;
//!     let quakes = node.client().topic("quakes")?;
//!     quakes.create_if_missing().await?;
//!
//!     // Acknowledged: on the disks of a majority of the topic's replicas, flushed.
//!     let record = Record::from("M 5.3, 50km NNW of Sangiang").with_key("us");
//!     let receipt = quakes.publish(record).await?;
//!     println!("{} is on {} disks", receipt.id, receipt.copies);
//!
//!     // History, then live, in one stream.
//!     let mut stream = quakes.subscribe(Start::Beginning).await?;
//!     if let Some(delivered) = stream.try_next().await? {
//!         assert_eq!(delivered.record.key.as_deref(), Some(b"us".as_slice()));
//!     }
//!     node.stop().await?;
//!     Ok(())
//! }
//! ```
//!
//! # What is promised
//!
//! - A publish that returns a [`Receipt`] is on as many flushed disks as the receipt
//!   says. Anything less is an error. It says whether the record is stored, and one that is
//!   [pending](Pending) can be waited for.
//! - A stream gives each record once, those of one node in the order in which it signed them, with
//!   no gap. Records that were trimmed or lost are reported ([`client::PassedOver`]), never skipped
//!   silently.
//! - A named subscription gives each record at least once, over restarts of everything.
//!
//! # Cancel-safety, tasks and back-pressure
//!
//! Dropping a future of `next` (of readers, subscribers and streams) loses no record. Each method
//! says whether it is cancel-safe. Requests that change something may have been carried out when
//! their future is dropped; repeating them is safe, except for [`Topic::publish`], which would
//! publish a second record.
//!
//! Readers have no task of their own: they ask when they are polled, and hold one page. A [`Node`]
//! is one task and its helpers. A [`Publisher`] is one more, which ends when it has sent what it
//! was given, and a [`Subscriber`] that commits in the background is one more until it is dropped.
//! Everything runs on tokio, and needs its timers and I/O.
//!
//! # Features
//!
//! - `json`, on by default: [`Record::json`], [`Delivered::json`] and what they need of serde.
//!
//! # The protocol's types
//!
//! The values that a program and the protocol share are here: a [`Record`] and its [`RecordId`],
//! names ([`TopicName`], [`SubscriberName`], [`TopicPattern`], [`Network`]), a [`NodeId`], and a
//! [`Cursor`] with its [`LogId`]s. All others are types of this crate, which may grow and do not
//! change with the protocol.
//!
//! # Where to read on
//!
//! `docs/library.md` leads from the first record to durable subscriptions; `examples/` has whole
//! programs: `first`, `sensors`, `jobs`, `chat`, and `embed`, a node inside an HTTP service.
//!
//! Inside are four rooms that know each other only through the engine's inputs and outputs.
//! `network` is libp2p and only libp2p. `store` is the disk behind a small trait. `runtime` is the
//! one loop that joins them to the engine. `platform` reads clocks and draws randomness. `client`
//! is what users of this library call.

pub mod client;
mod error;
mod network;
mod node;
mod platform;
mod runtime;
mod store;

pub use antiphon::model::{
    Cursor, CursorError, LogId, Network, NodeId, ProducerId, Record, RecordError, RecordId,
    SubscriberName, TopicName, TopicNameError, TopicPattern, WallClock,
};
pub use bytes::Bytes;
pub use client::{
    Acknowledgement, Client, ClientConfig, ConnectError, Created, Delivered, Delivery, End,
    GroupOptions, LinkError, Member, NameError, NextError, PatternReader, Pending, PublishError,
    PublishOptions, Publisher, Reader, ReaderOptions, Receipt, Refusal, RequestError, Start,
    Subscriber, Topic, TopicChanges, TopicInfo, TopicOptions, TopicSummary, Work,
};
pub use error::{NodeError, StartError};
pub use libp2p::Multiaddr;
pub use network::LocalNode;
pub use node::{Node, NodeConfig};
