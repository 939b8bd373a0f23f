//! Durable publish/subscribe without a broker, inside a program.
//!
//! A program publishes *records* to a *topic*, and reads them from it. A topic is a named set of
//! records. Several nodes, its *replicas*, hold copies of it on their disks.
//!
//! - [`Node`] runs a node: it finds others, keeps its share of the topics on its disk, and serves
//!   clients and other nodes. The `antiphon node` command is little more.
//! - [`Client`] publishes and reads through a node: one elsewhere ([`Client::connect`]), or the
//!   program's own ([`Node::client`]).
//! - [`Topic`] is a handle of one topic: futures that publish, streams that read.
//! - [`Member`] is one of several readers that share the records of a topic.
//!
//! Everything that most programs name is here, at the root. The module [`client`] has the rest, for
//! example what it reports of topics and nodes.
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
//! - If a publish returns a [`Receipt`], the record is on as many flushed disks as the receipt
//!   says. By default that is a majority of the topic's live replicas, and at least its
//!   `min_copies`. [`PublishOptions::acks`] sets another number.
//! - Otherwise it returns a [`PublishError`], which says whether the record is stored. If the
//!   record is on too few disks, the error is a handle to wait on ([`Pending`]).
//! - A reader gets each record once, with no gap. The records of one node come in the order in
//!   which that node wrote them. No order is promised among the records of several nodes.
//! - A reader reports the records that it has to skip ([`client::PassedOver`]): those that the
//!   topic's limits deleted, and those that no disk holds any more. It does not report compacted
//!   records, which newer ones replace, and the lost end of a log.
//! - A named subscription ([`Topic::subscribe_as`]) gives each record at least once, over restarts
//!   of everything.
//!
//! # Cancel-safety, tasks and back-pressure
//!
//! You may drop any future. What that means depends on the method:
//!
//! - `next` and `try_next`, of readers, subscribers and members, lose no record.
//! - A method that only asks for something changes nothing.
//! - A method that changes something may have changed it already, or the node may still do so. You
//!   can repeat it. A repeated [`Topic::create`] may then fail, because the topic exists.
//! - [`Topic::publish`] may have stored the record. Repeating it stores a second one, unless the
//!   record has an id ([`Record::with_id`]).
//!
//! Readers have no task of their own: they ask when they are polled, and hold one page of 4 MiB.
//! These have tasks:
//!
//! - a [`Node`] has one, and some helpers;
//! - a [`Publisher`] has one, which ends when it has sent what it was given;
//! - a [`Topic`] has a publisher from its first [`Topic::publish`] on;
//! - a [`Subscriber`] that commits in the background has one until it is dropped.
//!
//! Everything runs on tokio, and needs a runtime with timers and I/O (`enable_all`).
//!
//! # Features
//!
//! - `json`, on by default: [`Record::json`], [`Delivered::json`] and what they need of serde.
//!
//! # The protocol's types
//!
//! Some values belong to a program and to the protocol. Their types are those of the crate
//! `antiphon`:
//!
//! - a [`Record`], its [`WallClock`] time, and its [`RecordId`] with a [`ProducerId`];
//! - names: [`TopicName`], [`SubscriberName`], [`TopicPattern`], [`Network`], [`NodeId`];
//! - places: a [`Cursor`] with its [`LogId`]s, and a [`client::LogRange`];
//! - what places are made of: [`client::TopicId`], [`client::Incarnation`], [`client::Position`]
//!   with its [`client::Hash`];
//! - [`client::Acks`] and [`client::PendingTopic`].
//!
//! Nearly all others are types of this crate. They may grow, and do not change with the protocol.
//!
//! # Where to read on
//!
//! [The guide] leads from the first record to durable subscriptions. [The guarantees] say what is
//! promised and what is not, and [the glossary] explains the words. [The examples] are whole
//! programs: `first`, `sensors`, `jobs`, `chat`, and `embed`, a node inside an HTTP service.
//!
//! [The guide]: https://github.com/antiphon/antiphon/blob/main/docs/library.md
//! [The guarantees]: https://github.com/antiphon/antiphon/blob/main/docs/guarantees.md
//! [the glossary]: https://github.com/antiphon/antiphon/blob/main/docs/glossary.md
//! [The examples]: https://github.com/antiphon/antiphon/tree/main/examples
//!
//! # Inside
//!
//! This is for readers of the sources. Only [`client`] and [`membership`] are public. The other
//! modules know each other
//! only through the inputs and outputs of the engine, which is in the crate `antiphon`:
//!
//! - `network` is libp2p and only libp2p;
//! - `store` is the disk, behind a small trait;
//! - `runtime` is the one loop that joins them to the engine;
//! - `platform` reads clocks and draws randomness.

pub mod client;
mod error;
pub mod membership;
mod network;
mod network_key;
mod node;
mod operator;
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
    GroupOptions, LinkError, Member, NameError, NextError, Operator, PatternReader, Pending,
    PublishError, PublishOptions, Publisher, Reader, ReaderOptions, Receipt, Refusal, RequestError,
    Start, Subscriber, Topic, TopicChanges, TopicInfo, TopicOptions, TopicSummary, Work,
};
pub use error::{NodeError, StartError};
pub use libp2p::Multiaddr;
pub use membership::{Membership, MembershipError};
pub use network::LocalNode;
pub use network_key::{NetworkKeyError, create_network_key, draw_invitation_key, load_network_key};
pub use node::{Node, NodeConfig};
pub use operator::{OperatorKey, OperatorKeyError};
