//! Every bound of the protocol, with its unit and its reason.
//!
//! A bound that both ends of a connection must agree on is part of the protocol: changing it
//! needs a new protocol version. The others may differ between nodes.

use std::time::Duration;

// --- names and sizes that all nodes agree on -----------------------------------------------

/// Longest topic or subscription name, in bytes of UTF-8. Fits a length byte and a file name.
pub const NAME_BYTES_MAX: usize = 255;

/// Largest record, in bytes of payload, key and headers together (1 MiB, as Kafka and NATS).
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// Most headers of one record. Headers are for metadata, the payload for data.
pub const HEADERS_MAX: usize = 64;

/// What the encoding of one record adds to its bytes at most: array heads, time, and a length
/// head for each byte string and each header.
pub const RECORD_OVERHEAD_BYTES_MAX: usize = 64 + HEADERS_MAX * 16;

/// A batch is closed when its records reach this many bytes, before they are compressed. Large
/// enough that one signature and one flush are spread over thousands of small records, small enough
/// to stay pipelined.
pub const BATCH_BODY_BYTES_TARGET: usize = 256 * 1024;

/// Largest body of a batch, in bytes, as it is stored and when it is expanded: one record below the
/// target and one of the largest size.
pub const BATCH_BODY_BYTES_MAX: usize =
    BATCH_BODY_BYTES_TARGET + RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES_MAX;

/// How many times as large as its stored body the records of a batch may be. Compression reaches
/// 255; with this bound a message costs its receiver the work for 512 MiB of records at most.
pub const EXPANSION_MAX: usize = 64;

/// Most records in a batch: 16 Ki records of 16 bytes fill [`BATCH_BODY_BYTES_TARGET`].
pub const BATCH_RECORDS_MAX: u32 = 16 * 1024;

/// Most producers whose records share one batch. Bounds the header, which is stored longest.
pub const BATCH_RUNS_MAX: usize = 256;

/// Largest encoded header, in bytes: fixed fields (about 220) and 256 producer runs of 32 bytes.
pub const HEADER_BYTES_MAX: usize = 12 * 1024;

/// Largest encoded batch: header, signature, body and the heads of three byte strings.
pub const BATCH_BYTES_MAX: usize = HEADER_BYTES_MAX + 64 + BATCH_BODY_BYTES_MAX + 32;

/// Largest proof of a fork, in bytes: two headers with their signatures.
pub const FORK_PROOF_BYTES_MAX: usize = 2 * (HEADER_BYTES_MAX + 64 + 32) + 32;

/// Most proofs of forks that a node keeps of one topic. All of them go into one answer; a log that
/// forks beyond them is refused at the position, and its branches are not kept.
pub const FORKS_MAX: usize = 64;

/// Most branches of one log, over all its forks. Two are what a cloned writer makes; more than
/// two are kept only where different nodes had stored them before they knew of each other. Nodes
/// that have learnt as many of different ones do not agree any more, so it is ample.
pub const BRANCHES_MAX: usize = 32;

/// Most replicas that a topic may ask for. Each publish is sent to all of them by its writer.
pub const REPLICAS_MAX: u16 = 32;

/// Most changes of a topic, and most topics of one name one after the other: nobody gets there by
/// making them, and who claims it leaves no room for others.
pub const CHANGES_MAX: u64 = 1 << 32;

/// Most writers (keys) that a topic's descriptor may list.
pub const WRITERS_MAX: usize = 256;

/// Largest encoded topic descriptor, in bytes, with its signature.
pub const DESCRIPTOR_BYTES_MAX: usize = 16 * 1024;

/// Largest encoded request or response, in bytes: a page of batches or the frontier of a topic
/// with tens of thousands of logs. Checked before memory is reserved for it.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most bytes of batches in one response or one replication request. The rest of the message
/// is room for its other fields.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest opening of an archive, in bytes: a topic's descriptor and the name of a network.
pub const ARCHIVE_OPENING_BYTES_MAX: usize = DESCRIPTOR_BYTES_MAX + 128;

/// Largest note in an archive of records that are not in it, in bytes: a log and two numbers.
pub const ARCHIVE_PASSED_BYTES_MAX: usize = 128;

/// Largest end mark of an archive, in bytes: a cursor of [`FRONTIER_LOGS_MAX`] logs of some 100
/// bytes each.
pub const ARCHIVE_END_BYTES_MAX: usize = FRONTIER_LOGS_MAX * 128 + 128;

/// Sequence numbers end here: 280 million million records in one log. Sums of them over
/// [`FRONTIER_LOGS_MAX`] logs stay far from overflow.
pub const SEQUENCE_MAX: u64 = 1 << 48;

/// Most logs in one frontier. A log is one unbroken life of one node's data directory, so this
/// allows 1,000 writers that each started ten times after a crash.
pub const FRONTIER_LOGS_MAX: usize = 10_000;

/// Most separate spans of one log that a node holds. More than one exists only while a gap is
/// being repaired.
pub const SPANS_MAX: usize = 16;

/// Largest batch that is gossiped whole, in bytes. A larger one is announced by its header and
/// pulled by those who want it, for gossip copies a message for every neighbour.
pub const GOSSIP_BYTES_MAX: usize = 320 * 1024;

/// Records below the low watermark of a log of which the headers are kept, so that a fork among
/// them stays provable: some 1.5 MB of a log whose batches have one record each, and a few
/// kilobytes of others. The batch that the first of them is in counts as a whole.
pub const HEADERS_KEPT_RECORDS: u64 = 4_096;

/// Most headers of batches that were let go in one page: their positions are asked for one by
/// one, and all of them fit beside the batches of a page, however large they are.
pub const HEADERS_PER_PAGE_MAX: usize = 256;

/// Most topics whose state goes into one message. Longer lists are paged.
pub const TOPICS_PER_MESSAGE_MAX: usize = 10_000;

/// Most addresses that a node tells of itself or keeps of another one.
pub const ADDRESSES_MAX: usize = 16;

/// Longest address, in bytes of text.
pub const ADDRESS_BYTES_MAX: usize = 256;

/// Most topics of which one answer tells what is pending: some 1.4 MB, with all replicas of each
/// away.
pub const OUTBOX_TOPICS_MAX: usize = 1_000;

/// Most topics that one request reads. A request is sent anew with each answer, so it is to be
/// small: with a few writers a topic's cursor has some hundred bytes.
pub const READ_MANY_TOPICS_MAX: usize = 256;

/// Most runs of records that one request looks for: as many as a batch has.
pub const FIND_RUNS_MAX: usize = BATCH_RUNS_MAX;

// --- time ----------------------------------------------------------------------------------

/// Replicas of a topic that asks for none.
pub const REPLICAS_DEFAULT: u16 = 3;

/// How often a silent peer is pinged.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Silence after which a node is suspect: it keeps its place, others are asked first.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(2_500);

/// Silence after which a node is dead: its place is taken by a stand-in.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);

/// Time that a node whose connections closed has to come back before it is dead. A killed
/// process closes its connections at once; a dropped connection is redialled within this time.
pub const RECONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Absence after which a node loses its home places: its topics are copied to new homes.
pub const GONE_AFTER_DEFAULT: Duration = Duration::from_mins(10);

/// For how long a node that is new to the network comes behind all others when the replicas of a
/// topic are chosen. Whoever starts one for a moment leaves no topic without a replica; whoever
/// adds one to stay sees it at work soon.
pub const NEWCOMER_FOR: Duration = Duration::from_secs(15);

/// The same as long as fewer than [`REPLICAS_DEFAULT`] nodes are settled: a topic that one node
/// made alone soon has its replicas.
pub const NEWCOMER_OF_FEW_FOR: Duration = Duration::from_secs(3);

/// Newcomers that would settle within this time of each other settle together, so that topics move
/// once where several nodes are started one after the other.
pub const SETTLE_WITHIN: Duration = Duration::from_millis(500);

/// Absence after which a node is forgotten altogether.
pub const FORGET_AFTER: Duration = Duration::from_hours(7 * 24);

/// How often two replicas compare what they hold (anti-entropy), before jitter.
pub const REPAIR_INTERVAL: Duration = Duration::from_secs(2);

/// How often a node that holds copies for others tries to hand them over, before jitter.
pub const HANDOVER_INTERVAL: Duration = Duration::from_secs(2);

/// Time for one node to answer another one.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a replica to answer a replication request. Shorter than [`ASK_TIMEOUT`], as another
/// node can take its place.
pub const REPLICATE_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for the replicas of a topic to tell their frontiers, when one of them is silent.
pub const SURVEY_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Time in which a publish reaches its copies, where the publisher names none. Then the answer
/// is `pending`.
pub const PUBLISH_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// For how long a node knows where the records are that were given their ids, at least, unless more
/// of them come than [`RECENT_GIVEN_PER_TOPIC_MAX`]: longer than a publisher with any patience goes
/// on trying, restarts of its own included.
pub const RECENT_GIVEN_AGE: Duration = Duration::from_mins(10);

/// The same for all other records. Only a publisher that runs sends them again, and not for longer
/// than its own time for a publish.
pub const RECENT_RUNS_AGE: Duration = Duration::from_mins(2);

/// Longest time that the replicas of a topic are asked whether they hold what may be published
/// again. After that it is stored, for they may not be back for long.
pub const FIND_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Longest time that a reader may ask a node to hold its question open (long poll).
pub const READ_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often a node asks the replicas for their frontiers while readers wait at it: what gossip
/// lost is noticed within this time.
pub const FOLLOW_SURVEY_INTERVAL: Duration = Duration::from_secs(1);

/// Topics that are asked about at one tick for that reason, of those that were not for longest. Ten
/// ticks a second: with more than 500 topics that readers wait for it takes longer, and a node
/// that follows 10,000 is not busy with that alone.
pub const FOLLOW_SURVEYS_MAX: usize = 50;

/// Longest time that batches of some topics wait for those of another one that are being fetched,
/// to go into one answer. Long enough for a page from a node on another continent; a node that
/// hangs delays no other topic for longer.
pub const GATHER_WAIT_MAX: Duration = Duration::from_millis(500);

/// Time that a node goes on following a topic after its last reader asked.
pub const FOLLOW_LINGER: Duration = Duration::from_secs(30);

/// How far a remote timestamp may push the local hybrid clock ahead of the wall clock. Later
/// stamps are stored and not adopted.
///
/// A stamp that is further ahead than this lies in the future: it makes no record the newest of its
/// key, and readers are shown its batch before others. Ten times what a badly kept clock drifts in
/// a day.
pub const CLOCK_DRIFT_MAX: Duration = Duration::from_mins(1);

/// A clock that is off by more than this, beyond the error of the measurement, is off: operators
/// are told, and where most nodes say so, a node goes by theirs. NTP keeps clocks within
/// hundredths of it.
pub const CLOCK_OFF_MIN: Duration = Duration::from_secs(1);

/// How long a node that knows others waits to compare its clock with theirs before it stamps, after
/// its start and after its clock has jumped. A round trip is enough where anybody answers.
pub const CLOCK_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a measured clock counts. Two machines that count time apart by 100 parts in a million
/// differ by 60 ms after that.
pub const CLOCK_AGE_MAX: Duration = Duration::from_mins(10);

/// Clocks that a node remembers: the median of so many moves no more when others are added. Some
/// 4 KB.
pub const CLOCKS_MAX: usize = 64;

/// Parts of one log that are remembered for the stamps in them that lay in the future. With more
/// the two nearest become one. Some 1.5 KB for each log that has them.
pub const EARLY_PARTS_MAX: usize = 64;

// --- queues and tables of one node ---------------------------------------------------------

/// Most nodes that a node keeps in its member table.
pub const MEMBERS_MAX: usize = 10_000;

/// Batches of one topic that its writer has sealed and that are not yet acknowledged. While
/// they are under way the next batch fills.
pub const UNACKNOWLEDGED_BATCHES_MAX: usize = 4;

/// Bytes of records that wait at one node to be sealed and acknowledged, over all topics.
/// Beyond it publishers are told to slow down.
pub const UNACKNOWLEDGED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of batches queued for one peer. Beyond it the queue is dropped, and repair brings the
/// peer what it missed.
pub const PEER_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Pages that a node is importing at a time, over all clients. Each may be in memory once for
/// each replica that is slow.
pub const IMPORTS_MAX: usize = 16;

/// Pages of imports that one node has been sent and has not answered. A slower one is left to
/// repair while others do.
pub const IMPORTS_PER_NODE_MAX: usize = 4;

/// Requests from others that a node works on at the same time.
pub const QUESTIONS_MAX: usize = 4_096;

/// Bytes of recent batches that a node keeps of a topic that is being followed, so that live
/// readers are served without a disk read.
pub const TAIL_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of recent batches over all topics that are being followed. Up to 64 topics have
/// [`TAIL_BYTES_MAX`] each; with more, each has its share.
pub const TAILS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads of single topics that wait at one node as parts of requests for many: two readers of all
/// topics of a large network, each half a kilobyte and its cursor.
pub const READS_MAX: usize = 32 * 1024;

/// Requests that wait for names of topics to change, at one node. The names are compared for each
/// of them when one is created.
pub const NAMES_WAITING_MAX: usize = 1_024;

/// Requests that wait at one node for copies of pending records. Each has the replicas of its
/// topic asked about once a second.
pub const AWAITS_MAX: usize = 1_024;

/// Topics that a node looks at in one tick to see whether the replicas hold what was told to be
/// pending, those first that were not looked at for longest. Ten ticks a second: with three
/// replicas these are 240 requests a second at most, however many topics there are.
pub const OUTBOX_LOOKS_MAX: usize = 8;

/// Topics in which a node is being repaired from one peer at a time.
pub const REPAIR_FETCHES_PER_PEER_MAX: usize = 2;

/// Pages that a node fetches for repair at a time, over all peers. Each may be in memory twice.
pub const REPAIR_FETCHES_MAX: usize = 4;

/// Bytes of batches, as they are stored, per second that a node fetches for repair. Fast enough to
/// catch up with a gigabyte in seconds, and slow enough to leave a disk and a network to those who
/// publish.
pub const REPAIR_BYTES_PER_SECOND_MAX: u64 = 100 * 1024 * 1024;

/// How often a read is planned anew when a node that should have answered did not.
pub const READ_ATTEMPTS_MAX: u32 = 4;

/// Bytes of subscriptions in one answer.
pub const POSITIONS_BYTES_MAX: usize = 1024 * 1024;

/// Recent producers that a writer remembers per topic, to recognise a retried publish.
pub const PRODUCERS_MAX: usize = 1_024;

/// Records with given ids that a node remembers of one topic: in ten minutes a hundred a second.
/// Some 10 MiB.
pub const RECENT_GIVEN_PER_TOPIC_MAX: usize = 64 * 1024;

/// The same over all topics. Some 20 MiB.
pub const RECENT_GIVEN_MAX: usize = 128 * 1024;

/// Runs of other records that a node remembers of one topic. A run goes on as long as its producer
/// is the only one; with many each batch has one of each of them.
pub const RECENT_RUNS_PER_TOPIC_MAX: usize = 8 * 1024;

/// The same over all topics. Some 5 MiB.
pub const RECENT_RUNS_MAX: usize = 32 * 1024;

/// Records of each log, from its end, among which a node looks after a start for what was stored
/// lately.
pub const RECALL_RECORDS_MAX: u64 = 64 * 1024;

/// Bytes of a topic that it reads for that: a fraction of a second.
pub const RECALL_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Topics that are read for that at a time. Each has a page in memory for a moment.
pub const RECALLS_MAX: usize = 4;

/// Publishes that a node looks for at the replicas, over all topics. As many requests are under way
/// for each at a time as the topic has replicas.
pub const SEARCHES_MAX: usize = 1_024;

/// Parts that a store tells of when it is asked what it holds of a topic, and one for each log
/// more.
pub const MEASURED_PARTS_MAX: usize = 1_024;

/// Parts that one sweep of a compacted topic takes away: each is a small write. The next sweep,
/// some seconds later, goes on.
pub const SWEPT_PARTS_MAX: usize = 4_096;

/// What a compacted part that names no batches takes in a message at most, in bytes.
pub const COMPACTED_START_BYTES_MAX: usize = 160;

/// Largest encoding of a compacted part, in bytes: 1,024 names of 17 bytes, and where it is.
pub const COMPACTED_BYTES_MAX: usize = 20 * 1024;

/// Batches that a compacted part of a log names, by 16 bytes each: those that a node may still have
/// that was away, or a writer send once more. They take 17 kB at most.
pub const COMPACTED_HASHES_MAX: usize = 1_024;

/// Names of subscriptions of which a node knows who reads under them, the newest: some 200 B each.
pub const READERS_SEEN_MAX: usize = 4_096;

/// Runs of a subscriber that are told apart under one name.
pub const SESSIONS_SEEN_MAX: usize = 4;

/// Named subscriptions of one topic.
pub const SUBSCRIPTIONS_MAX: usize = 4_096;

/// Records of one group that its coordinator has read and that are not acknowledged, about: some
/// 150 bytes of memory each. It reads no further until members are done with some.
pub const GROUP_RECORDS_MAX: usize = 8 * 1024;

/// Runs of acknowledged records after a group's position, and records that were given out more than
/// once: as many as two coordinators leave that did not know of each other, each with
/// [`GROUP_RECORDS_MAX`] gaps.
pub const GROUP_RUNS_MAX: usize = 2 * GROUP_RECORDS_MAX;

/// Groups that one node coordinates, half a megabyte each while they are behind.
pub const GROUPS_MAX: usize = 1_024;

/// Members of one group.
pub const GROUP_MEMBERS_MAX: usize = 1_024;

/// Parts of logs in one message between a member and its group.
pub const GROUP_RANGES_MAX: usize = GROUP_RECORDS_MAX;

/// Time for a member of a group to be done with a record: no less, as messages take their time.
pub const VISIBILITY_MIN: Duration = Duration::from_millis(100);

/// And no more: a record that is with a member that has died waits for as long.
pub const VISIBILITY_MAX: Duration = Duration::from_hours(12);

/// How long a node that takes a group over waits for members to say what they have: as long as a
/// client takes to find another node when its own has failed.
pub const GROUP_GRACE: Duration = Duration::from_secs(3);

/// After how long without a word from it a member of a group, or from any member a group, is
/// forgotten by the coordinator. What is acknowledged is kept on the replicas.
pub const GROUP_IDLE: Duration = Duration::from_mins(1);

/// Bytes of the reason why a member did not want a record.
pub const REASON_BYTES_MAX: usize = 512;

// How the limits relate.
const _: () = {
    assert!(SEQUENCE_MAX as u128 * FRONTIER_LOGS_MAX as u128 * 2 < u64::MAX as u128);
    assert!(BATCH_BYTES_MAX <= PAGE_BYTES_MAX, "a page holds at least one batch of any size");
    assert!(PAGE_BYTES_MAX * 2 <= MESSAGE_BYTES_MAX, "a message has room beside its page");
    assert!(
        HEADERS_PER_PAGE_MAX * (HEADER_BYTES_MAX + 128) + PAGE_BYTES_MAX < MESSAGE_BYTES_MAX,
        "beside batches"
    );
    assert!(FORK_PROOF_BYTES_MAX * FORKS_MAX * 4 < MESSAGE_BYTES_MAX, "beside a frontier");
    assert!(BATCH_BODY_BYTES_TARGET < GOSSIP_BYTES_MAX, "ordinary batches are gossiped whole");
    assert!(SUSPECT_AFTER.as_millis() < DEAD_AFTER.as_millis());
    assert!(NEWCOMER_OF_FEW_FOR.as_millis() < NEWCOMER_FOR.as_millis());
    assert!(HEARTBEAT_INTERVAL.as_millis() * 2 < SUSPECT_AFTER.as_millis());
};
