//! Bounds and settings that other packages or private modules have. The tests of this file look
//! whether they are still what stands there.

use std::time::Duration;

/// Connections of a node (`node/src/network/behaviour.rs`).
pub(crate) const CONNECTIONS_MAX: u64 = 4_096;
/// Memory of an idle connection (there).
pub(crate) const CONNECTION_BYTES: u64 = 30 * 1024;
/// Topics that a node follows (there).
pub(crate) const TOPICS_FOLLOWED_MAX: u64 = 10_000;
/// Topics that a node announces (there).
pub(crate) const TOPICS_PROVIDED_MAX: u64 = 20_000;
/// Topics of which a node keeps the announcements of others (there).
pub(crate) const TOPICS_ANNOUNCED_MAX: u64 = 50_000;
/// How often a node announces each topic that it holds (there).
pub(crate) const ANNOUNCE_INTERVAL: Duration = Duration::from_mins(3);
/// How often a node looks around in the table (there).
pub(crate) const BOOTSTRAP_INTERVAL: Duration = Duration::from_mins(1);
/// How often a node asks another one whom it knows (`src/engine/membership/mod.rs`).
pub(crate) const ACQUAINT_INTERVAL: Duration = Duration::from_secs(10);
/// Topics in one answer about numbers of records (`src/engine/catalogue/listing.rs`).
pub(crate) const COUNTS_MAX: u64 = 100_000;
/// Topics whose terms a peer is remembered to know (`src/engine/replication/mod.rs`).
pub(crate) const KNOWN_TOPICS_MAX: u64 = 16_384;

/// Neighbours in a mesh, wanted and at most (libp2p-gossipsub's `mesh_n` and `mesh_n_high`).
pub(crate) const MESH_WANTED: usize = 6;
pub(crate) const MESH_MAX: usize = 12;
/// Share of the followers outside the mesh that a follower tells what it has, each second
/// (`gossip_factor`), and at least how many (`gossip_lazy`).
pub(crate) const TELL_SHARE: f64 = 0.25;
pub(crate) const TELL_MIN: usize = 6;
/// A message above so many bytes is refused by whoever has it (`idontwant_message_size_threshold`).
pub(crate) const REFUSE_ABOVE_BYTES: usize = 1_000;
/// Nodes in a bucket and in an answer, and questions at a time (libp2p-kad's k and alpha).
pub(crate) const KAD_NEAREST: usize = 20;
pub(crate) const KAD_PARALLEL: usize = 3;

/// What one exchange adds to its two messages, in bytes: both sides name the protocol (2 x 46),
/// four frames of Yamux (48) and as many of Noise (72). Reckoned, without TCP and IP.
pub(crate) const EXCHANGE_BYTES: u64 = 212;
/// A ping or its answer: 32 bytes, and a frame of Yamux and of Noise.
pub(crate) const PING_BYTES: u64 = 32 + 12 + 18;

/// Processor time for an exchange at each end, as assumed: a substream, its tasks and channels.
pub(crate) const EXCHANGE_SECONDS: f64 = 100e-6;
/// The same for a ping or its answer, sent or received, on a stream that stays open.
pub(crate) const PING_SECONDS: f64 = 10e-6;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn the_settings_are_those_of_the_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let lines = [
            ("node/src/network/behaviour.rs", "CONNECTIONS_MAX: u32 = 4_096;"),
            ("node/src/network/behaviour.rs", "some 30 KiB"),
            ("node/src/network/limits.rs", "TOPICS_FOLLOWED_MAX: usize = 10_000;"),
            ("node/src/network/behaviour.rs", "TOPICS_PROVIDED_MAX: usize = 20_000;"),
            ("node/src/network/limits.rs", "TOPICS_ANNOUNCED_MAX: usize = 50_000;"),
            (
                "node/src/network/behaviour.rs",
                "provider_publication_interval(Some(Duration::from_mins(3)))",
            ),
            (
                "node/src/network/behaviour.rs",
                "periodic_bootstrap_interval(Some(Duration::from_mins(1)))",
            ),
            ("node/src/network/behaviour.rs", "flood_publish(true)"),
            (
                "src/engine/membership/mod.rs",
                "ACQUAINT_INTERVAL: Duration = Duration::from_secs(10);",
            ),
            ("src/engine/catalogue/listing.rs", "COUNTS_MAX: usize = 100_000;"),
            ("src/engine/replication/mod.rs", "KNOWN_TOPICS_MAX: usize = 16_384;"),
        ];
        for (file, line) in lines {
            let text = fs::read_to_string(root.join(file)).unwrap();
            assert!(text.contains(line), "{file} does not say `{line}` any more");
        }
        let behaviour = fs::read_to_string(root.join("node/src/network/behaviour.rs")).unwrap();
        for default in ["mesh_n", "gossip_factor", "gossip_lazy", "idontwant", "parallelism"] {
            assert!(!behaviour.contains(default), "{default} is not libp2p's default any more");
        }
    }
}
