//! One process of Antiphon: the engine joined to a network and to a disk.
//!
//! - [`Node`] runs a node inside a program; the `antiphon node` command is little more.
//! - [`Client`] publishes and reads through a node: one elsewhere, or the program's own.
//!
//! Inside, four rooms that know each other only through the engine's inputs and outputs:
//! `network` is libp2p and only libp2p, `store` is the disk behind a small trait, `runtime` is
//! the one loop that joins them to the engine and the only reader of clocks, `client` is what
//! users of this library call.

pub mod client;
mod network;
mod node;
mod runtime;
mod store;

pub use client::{Client, ClientConfig};
pub use libp2p::Multiaddr;
pub use node::{Node, NodeConfig, NodeError, StartError};
