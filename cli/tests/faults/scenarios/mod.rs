//! The scenarios, one function each, named after the fault.

mod data;
mod disks;
mod members;
mod network;
mod processes;

use crate::Scenario;

/// All of them, in the order in which they run.
pub(crate) const ALL: &[Scenario] = &[
    ("owner-killed", processes::owner_killed),
    ("all-replicas-but-one-killed", processes::all_replicas_but_one_killed),
    ("all-nodes-killed", processes::all_nodes_killed),
    ("owner-paused", processes::owner_paused),
    ("flapping-paused", processes::flapping_paused),
    ("flapping-killed", processes::flapping_killed),
    ("data-wiped", data::data_wiped),
    ("old-copy-restored", data::old_copy_restored),
    ("data-cloned", data::data_cloned),
    ("journal-cut-short", data::journal_cut_short),
    ("bits-flipped", data::bits_flipped),
    ("stored-batches-damaged", data::stored_batches_damaged),
    ("journals-damaged-everywhere", data::journals_damaged_everywhere),
    ("power-cut-of-one", disks::power_cut_of_one),
    ("power-cut-of-all", disks::power_cut_of_all),
    ("flush-fails", disks::flush_fails),
    ("killed-at-flush", disks::killed_at_flush),
    ("flush-lies", disks::flush_lies),
    ("flush-hangs", disks::flush_hangs),
    ("disk-full", disks::disk_full),
    ("partition", network::partition),
    ("owner-cut-off", network::owner_cut_off),
    ("partition-one-way", network::partition_one_way),
    ("partition-partial", network::partition_partial),
    ("half-open", network::half_open),
    ("nodes-added-and-removed", members::nodes_added_and_removed),
    ("nodes-leave", members::nodes_leave),
];

/// What is known to fail, and runs only with `--ignored`.
pub(crate) const KNOWN_TO_FAIL: &[Scenario] = &[];
