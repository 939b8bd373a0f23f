//! The protocol of Antiphon: what all nodes of a network agree on.
//!
//! Antiphon is durable publish/subscribe without a broker. This package holds its three pure
//! rooms, which depend on each other in one direction only:
//!
//! - [`model`]: topics, records, batches, frontiers, cursors, clocks. The words of the product.
//! - [`wire`]: the messages between nodes, and their bytes.
//! - [`engine`]: the state machine of one node. It takes inputs with the time at which they
//!   happened and returns outputs; it never touches a socket, a disk, a clock or a random source.
//!
//! Every bound, with its unit and its reason, stands in [`limits`].
//!
//! The package `antiphon-node` joins the engine to libp2p and to a disk.

pub mod engine;
pub mod limits;
pub mod model;
pub mod wire;
