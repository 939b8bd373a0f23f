//! Every limit of the protocol, with its unit and its reason.
//!
//! A limit that both ends of a connection must agree on is part of the protocol: changing it needs
//! a new protocol version. The others may differ between nodes.

use std::time::Duration;

// --- names and sizes that all nodes agree on -----------------------------------------------

/// Longest topic or subscription name, in bytes of UTF-8. Fits a length byte and a file name.
pub const NAME_BYTES_MAX: usize = 255;

/// Largest record, in bytes of payload, key and headers together (1 MiB, as in Kafka and NATS).
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// Most headers of one record. Headers are for metadata, the payload for data.
pub const HEADERS_MAX: usize = 64;

/// Most bytes that the encoding adds to one record: array heads, time, and a length head for each
/// byte string and each header.
pub const RECORD_OVERHEAD_BYTES_MAX: usize = 64 + HEADERS_MAX * 16;

/// A batch is closed when its records reach this many bytes before compression. One signature and
/// one flush are then spread over thousands of small records, and several batches can be under way.
pub const BATCH_BODY_BYTES_TARGET: usize = 256 * 1024;

/// Largest body of a batch, in bytes, both as stored and expanded: one record below the target and
/// one of the largest size.
pub const BATCH_BODY_BYTES_MAX: usize =
    BATCH_BODY_BYTES_TARGET + RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES_MAX;

/// How many times as large as its stored body the records of a batch may be. Compression could
/// reach 255. With this limit a message costs its receiver the work for at most 512 MiB of records.
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

/// Most proofs of forks that a node keeps of one topic. All of them go into one answer. Beyond the
/// limit a second batch is refused at its position, and its branch is not kept.
pub const FORKS_MAX: usize = 64;

/// Most of them for the logs of one writer, so that one that forks its own logs takes no other
/// writer's place.
pub const WRITER_FORKS_MAX: usize = 8;

/// Most branches of one log, over all its forks. A cloned writer makes two. More are kept only if
/// different nodes had stored them before they knew of each other. Two nodes that have learnt this
/// many different ones do not agree any more, so the limit is ample.
pub const BRANCHES_MAX: usize = 32;

/// Most replicas that a topic may ask for. Each publish is sent to all of them by its writer.
pub const REPLICAS_MAX: u16 = 32;

/// Most revisions of a topic, and most generations of a name. Nobody reaches it by real changes,
/// and a larger number in a message is refused.
pub const CHANGES_MAX: u64 = 1 << 32;

/// By how many steps a revision, or a generation, may be ahead of what a node knows, beyond one a
/// second for the time since. So nobody counts so far that no step is left for others. A node that
/// was away, or is new, learns all steps that were really taken.
pub const STEPS_MAX: u64 = 1_000;

/// From when on steps are counted of what a node does not know yet: the start of 2026, in
/// milliseconds since 1970. No network is older.
pub const STEPS_SINCE_MS: u64 = 1_767_225_600_000;

/// Features that a topic's descriptor may need.
pub const NEEDS_MAX: usize = 32;

/// Most writers (keys) that a topic's descriptor may list.
pub const WRITERS_MAX: usize = 256;

/// Largest encoded topic descriptor, in bytes, with its signature.
pub const DESCRIPTOR_BYTES_MAX: usize = 16 * 1024;

/// Largest encoded request or response, in bytes: a page of batches, or the frontier of a topic
/// with tens of thousands of logs. Checked before memory is reserved for it.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most bytes of batches in one response or one replication request. The rest of the message
/// is room for its other fields.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest opening of an archive, in bytes: a topic's descriptor, its id and the name of a network.
pub const ARCHIVE_OPENING_BYTES_MAX: usize = DESCRIPTOR_BYTES_MAX + 128;

/// Largest note in an archive about skipped records, in bytes: a log and two numbers.
pub const ARCHIVE_PASSED_BYTES_MAX: usize = 128;

/// Largest section of an archive that a program may skip, in bytes. So a section of a newer program
/// costs no more memory than a batch.
pub const ARCHIVE_SKIPPED_BYTES_MAX: usize = 1024 * 1024;

/// Largest end mark of an archive, in bytes: a cursor of [`FRONTIER_LOGS_MAX`] logs of some 100
/// bytes each.
pub const ARCHIVE_END_BYTES_MAX: usize = FRONTIER_LOGS_MAX * 128 + 128;

/// Largest sequence number: 280 million million records in one log. Sums over [`FRONTIER_LOGS_MAX`]
/// logs stay far from overflow.
pub const SEQUENCE_MAX: u64 = 1 << 48;

/// Most logs in one frontier. A log is one incarnation of one node's data directory, so this allows
/// 1,000 writers that each started ten times after a crash.
pub const FRONTIER_LOGS_MAX: usize = 10_000;

/// Most logs of one writer in one topic, without those of which retention left nothing, and without
/// branches of forks. A writer begins one after each crash. At the limit it continues its newest
/// one.
pub const WRITER_LOGS_MAX: usize = 64;

/// Most logs in one topic of writers that are no nodes of the network, by what the holder knows:
/// nodes that were forgotten, archives of others, and keys that somebody made up. The rest of
/// [`FRONTIER_LOGS_MAX`] is reserved for nodes.
pub const STRANGER_LOGS_MAX: usize = 1_000;

/// After what time to ask again where a topic has too many logs. Retention may have removed some.
pub const TOO_MANY_LOGS_PAUSE: Duration = Duration::from_mins(1);

/// Most separate spans of one log that a node holds. More than one exists only while a gap is
/// being repaired.
pub const SPANS_MAX: usize = 16;

/// Largest batch that is gossiped whole, in bytes. A larger one is announced by its header and
/// fetched by its readers, because gossip copies a message for every neighbour.
pub const GOSSIP_BYTES_MAX: usize = 320 * 1024;

/// Records below the low watermark of a log whose headers are kept, so that a fork among them stays
/// provable. They take some 1.5 MB if each batch has one record, and a few kilobytes otherwise. The
/// batch that contains the first of them counts as a whole.
pub const HEADERS_KEPT_RECORDS: u64 = 4_096;

/// Most headers of trimmed batches in one page. Their positions are requested one by one, and all
/// of them fit beside the batches of a page, however large they are.
pub const HEADERS_PER_PAGE_MAX: usize = 256;

/// Most logs whose ends one answer proves, by their last headers. Verifying them takes 80 ms. The
/// asker asks for more by name.
pub const HEADS_MAX: usize = 1_024;

/// Most bytes of such headers in one answer, beside a frontier.
pub const HEADS_BYTES_MAX: usize = 1024 * 1024;

/// Most pages that a node reads for them, batches and all: somebody who asks for headers alone has
/// it read as much as for as many pages.
pub const HEADS_PAGES_MAX: usize = 4;

/// Most topics whose state goes into one message. Longer lists are paged.
pub const TOPICS_PER_MESSAGE_MAX: usize = 10_000;

/// Parts of the statements that all nodes know, by the first byte of the hash of the name. Of
/// 100,000 topics a part has 400, and all digests are told in 9 kB.
pub const STATEMENT_PARTS: usize = 256;

/// Most statements of a part that a node says it knows in one request, at 66 bytes each: 270 kB.
pub const STATEMENTS_PER_MESSAGE_MAX: usize = 4_096;

/// Most descriptors in one message. Verifying them takes some 25 ms.
pub const DESCRIPTORS_PER_MESSAGE_MAX: usize = 256;

/// Most topics that a node knows, deleted ones included. Each takes about 1.5 kB of memory. What
/// is beyond is neither created nor learned.
pub const TOPICS_MAX: usize = 100_000;

/// Most topics whose terms one node has signed last, deleted ones included: a quarter of all. More
/// are neither created there nor learned, so one key does not take the places of all others.
pub const SIGNED_TOPICS_MAX: usize = TOPICS_MAX / 4;

/// Most addresses that a node reports of itself or keeps of another one.
pub const ADDRESSES_MAX: usize = 16;

/// Longest version of a program that a node says it runs, in bytes. A column shows it.
pub const PROGRAM_BYTES_MAX: usize = 32;

/// Longest address, in bytes of text.
pub const ADDRESS_BYTES_MAX: usize = 256;

/// Most topics whose pending records one answer lists: some 1.4 MB, with all replicas of each away.
pub const OUTBOX_TOPICS_MAX: usize = 1_000;

/// Most topics that one request reads. The request is sent again with each answer, so it must be
/// small: with a few writers, a topic's cursor has some hundred bytes.
pub const READ_MANY_TOPICS_MAX: usize = 256;

/// Most runs of records that one request looks for: as many as a batch has.
pub const FIND_RUNS_MAX: usize = BATCH_RUNS_MAX;

// --- closed networks -----------------------------------------------------------------------

/// Largest statement of a roster, in bytes: a charter of 64 admins with long scopes fits.
pub const ROSTER_STATEMENT_BYTES_MAX: usize = 16 * 1024;

/// Most signatures of a statement: a claim has two, any other one.
pub const SIGNERS_MAX: usize = 2;

/// Most statements of a roster: usual ones of 300 bytes take 20 MiB then.
pub const ROSTER_STATEMENTS_MAX: usize = 64 * 1024;

/// Bytes of a roster's statements beyond which none is added, but for removals. Every node keeps
/// them in memory.
pub const ROSTER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most closures of one writer in one topic: admins who do not know of each other each sign one.
pub const CLOSURES_MAX: usize = 8;

/// Most statements of a roster that one message has. To verify them takes 3 ms to 6 ms, if all are
/// news.
pub const ROSTER_TOLD_MAX: usize = 64;

/// Pages that a node fetches of another one's roster in one comparison. An honest node has no more,
/// and one that goes on for ever is left.
pub const ROSTER_PAGES_MAX: usize = ROSTER_STATEMENTS_MAX / ROSTER_TOLD_MAX + STATEMENT_PARTS;

/// How long a node may take until it signs terms again whose signer may not sign them any more.
/// Each node draws its time, so that most find that another one has done so.
pub const RENEW_TERMS_WITHIN: Duration = Duration::from_secs(5);

/// How often a node looks for such terms though nobody told of other members: passes end.
pub const RENEW_TERMS_INTERVAL: Duration = Duration::from_mins(1);

/// Terms that a node signs again at a time: signing one takes some 30 us.
pub const RENEWALS_AT_A_TIME: usize = 64;

/// How often a node compares its roster with that of another one. News comes at once; this is for
/// what was lost.
pub const ROSTER_COMPARE_INTERVAL: Duration = Duration::from_secs(10);

/// Batches that are read at a time to find where logs of removed writers end. A node that learns of
/// many closures at once does not read for nothing else.
pub const CLOSING_READS_MAX: usize = 16;

/// Pause before such a batch is read again that could not be read. A damaged one is reported
/// meanwhile.
pub const CLOSING_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long after its start a node looks for records of writers that nobody has admitted. By then
/// it has compared its roster with that of another node, if there is one.
pub const UNADMITTED_NAMED_AFTER: Duration = Duration::from_secs(15);

/// Most such writers that a node names. It names others at a later start, when these are admitted.
pub const UNADMITTED_NAMED_MAX: usize = 32;

/// How often a node looks whose membership has ended.
pub const ROSTER_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// For how long a node may be connected of which the roster knows nothing: what admits it is on its
/// way.
pub const ROSTER_UNKNOWN_MAX: Duration = Duration::from_secs(10);

/// Claims on an invitation that a roster keeps beyond its uses. Parts of a network that do not
/// reach each other may each let somebody in by one ticket: four parts, if it is for one machine.
pub const CLAIMS_BEYOND_USES_MAX: usize = 3;

/// By how much two clocks may differ. A membership holds for as long after its end.
pub const ROSTER_CLOCK_TOLERANCE: Duration = Duration::from_mins(10);

/// Most invitations of a network in its life, used or not: three tickets a day for nine years. With
/// a claim each of some 300 bytes they take a third of a roster.
pub const INVITES_MAX: usize = 10_000;

/// Most admins of a network. People know each other by name.
pub const ADMINS_MAX: usize = 64;

/// Most grants of a pass. What needs more wants a pattern.
pub const GRANTS_MAX: usize = 32;

/// Most groups that a member is in.
pub const PASS_GROUPS_MAX: usize = 8;

/// Longest name of a member or a group of members, in bytes. It fits a column of a table.
pub const LABEL_BYTES_MAX: usize = 64;

/// Longest reason for a removal, in bytes. It fits a line or two.
pub const REVOCATION_REASON_BYTES_MAX: usize = 128;

/// How often a member can be admitted again. Nobody is put out of reach by a large number: an
/// admin who counts to the end removes the member for ever, as it may.
pub const TURNS_MAX: u32 = 1 << 20;

/// Most members and former writers that one ticket introduces, of a network that was open before.
pub const INTRODUCED_MAX: usize = 1_024;

/// Bytes of their passes: usual ones have 230 bytes.
pub const INTRODUCED_BYTES_MAX: usize = 384 * INTRODUCED_MAX;

/// Largest ticket, in bytes before it becomes text: a charter, a pass, eight addresses, and those
/// whom it introduces.
pub const TICKET_BYTES_MAX: usize =
    2 * ROSTER_STATEMENT_BYTES_MAX + INTRODUCED_BYTES_MAX + 8 * 1024;

/// Most nodes that a ticket names. One that answers is enough.
pub const TICKET_CONTACTS_MAX: usize = 8;

/// Largest first message on a connection, in bytes: a charter, a pass and a claim. So nothing that
/// can be signed is too large to be shown.
pub const HELLO_BYTES_MAX: usize = 2 * ROSTER_STATEMENT_BYTES_MAX + 4 * 1024;

/// Largest file `network` of a data directory: a charter, a pass, a claim, eight addresses, and
/// those whom the ticket introduced.
pub const KEPT_BYTES_MAX: usize = 2 * ROSTER_STATEMENT_BYTES_MAX + INTRODUCED_BYTES_MAX + 12 * 1024;

// --- time ----------------------------------------------------------------------------------

/// Replicas of a topic that asks for none.
pub const REPLICAS_DEFAULT: u16 = 3;

/// How often a silent peer is pinged.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the engine looks at what is due: timeouts, silent nodes, repair.
pub const TICK: Duration = Duration::from_millis(100);

/// Silence after which a node is suspect: it keeps its place, and other nodes are asked first.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(2_500);

/// Silence after which a node is dead: a stand-in takes its place.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);

/// Time within which a node whose connections closed must come back, or it is dead. A killed
/// process closes its connections at once; a dropped connection is dialled again within this time.
pub const RECONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Absence after which a node is gone: it is no home replica any more, and its topics are copied.
pub const GONE_AFTER_DEFAULT: Duration = Duration::from_mins(10);

/// For how long a newcomer comes behind all other nodes when replicas are chosen. A node that joins
/// for a moment leaves no topic without a replica. A node that joins to stay is soon at work.
pub const NEWCOMER_FOR: Duration = Duration::from_secs(15);

/// The same while fewer than [`REPLICAS_DEFAULT`] nodes are settled: a topic that a lone node
/// created soon has its replicas.
pub const NEWCOMER_OF_FEW_FOR: Duration = Duration::from_secs(3);

/// For how long another node must have been connected with this one, in all, before its word lets
/// this one delete a copy, or acknowledge without a copy of its own. Keys cost nothing, and a day
/// of connections to every node does.
pub const PROBATION_DEFAULT: Duration = Duration::from_hours(24);

/// For how long a node on probation may say that it knows other nodes than this one, until a proof
/// that nobody holds something does without its word. Nodes that came meet all others in less.
pub const ODD_MEMBERS_FOR: Duration = Duration::from_secs(30);

/// Newcomers that would settle within this time of each other settle together, so that topics move
/// once if several nodes start one after the other.
pub const SETTLE_WITHIN: Duration = Duration::from_millis(500);

/// Absence after which a node is forgotten altogether.
pub const FORGET_AFTER: Duration = Duration::from_hours(7 * 24);

/// Time in all for which a node must have been connected to be more than a visitor. It costs an
/// attacker as many connections as it has names, for as long.
pub const ACQUAINTED_AFTER: Duration = Duration::from_mins(10);

/// Absence after which a visitor is forgotten altogether.
pub const FORGET_VISITOR_AFTER: Duration = Duration::from_hours(1);

/// How often two replicas compare what they hold (anti-entropy), before jitter.
pub const REPAIR_INTERVAL: Duration = Duration::from_secs(2);

/// Most batches that one proof of possession is about. Who keeps half of what it says passes one in
/// 2^8 times.
pub const PROVE_BATCHES_MAX: usize = 8;

/// Most bytes of batches that one proof is about: [`PROVE_BATCHES_MAX`] full ones of small records,
/// or two of the largest.
pub const PROVE_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Proofs that a node reads for at a time. A read takes some milliseconds, and others wait behind
/// it.
pub const PROVES_MAX: usize = 4;

/// Questions for proofs that wait for their turn: half a kilobyte each. Beyond it each asker may
/// still have its part.
pub const PROVES_WAITING_MAX: usize = 1_024;

/// The same of one asker: twice as many topics as it hands over at a time.
pub const PROVES_WAITING_PER_ASKER_MAX: usize = 128;

/// Stored bytes per second that a node reads for the proofs that one asker wants. What is handed
/// over was sent before, which takes longer.
pub const PROVE_BYTES_PER_SECOND_MAX: u64 = 16 * 1024 * 1024;

/// How far an asker may be ahead of that.
pub const PROVE_AHEAD_MAX: Duration = Duration::from_secs(1);

/// How often a home replica has the other home replicas of a topic prove that they hold it.
pub const AUDIT_INTERVAL: Duration = Duration::from_mins(1);

/// Topics of which it looks at one in that time.
pub const AUDIT_TOPICS: usize = 100;

/// How often a node that holds copies for others tries to hand them over, before jitter.
pub const HANDOVER_INTERVAL: Duration = Duration::from_secs(2);

/// Longest pause before a home replica that does not show what it was brought is brought a page
/// again.
pub const HANDOVER_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Time for one node to answer another one.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a replica to answer a replication request. Shorter than [`ASK_TIMEOUT`], because
/// another node can take its place.
pub const REPLICATE_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for the replicas of a topic to report their frontiers, if one of them is silent.
pub const SURVEY_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Time for a publish to reach its copies, if the publisher names none. Then the answer is
/// `pending`.
pub const PUBLISH_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Longest time that a publish may wait for its copies. What waits takes memory that all publishers
/// of the node share. A longer time is cut to this one: then the answer is `pending`.
pub const PUBLISH_TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// For how long, at least, a node knows where records with dedup ids are, unless there are more
/// than [`RECENT_GIVEN_PER_TOPIC_MAX`] of them. A publisher does not retry for longer, restarts
/// included.
pub const RECENT_GIVEN_AGE: Duration = Duration::from_mins(10);

/// The same for all other records. Only a running publisher sends them again, and for no longer
/// than its own time for a publish.
pub const RECENT_RUNS_AGE: Duration = Duration::from_mins(2);

/// Longest time for which the replicas are asked whether they hold records that may be a
/// repetition. Then the records are stored, because the replicas may stay away for long.
pub const FIND_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Longest time for which a node holds a reader's request open (long poll).
pub const READ_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often a node asks the replicas for their frontiers while readers wait: what gossip lost is
/// noticed within this time.
pub const FOLLOW_SURVEY_INTERVAL: Duration = Duration::from_secs(1);

/// Topics surveyed for that reason in one tick, those first that were not surveyed for longest.
/// There are ten ticks a second. With more than 500 topics that readers wait for, each takes
/// longer. A node that follows 10,000 topics is not busy with surveys alone.
pub const FOLLOW_SURVEYS_MAX: usize = 50;

/// Longest time for which batches of some topics wait to go into one answer with those of another
/// topic, which are being fetched. It is enough for a page from another continent. A node that
/// hangs delays no other topic for longer.
pub const GATHER_WAIT_MAX: Duration = Duration::from_millis(500);

/// How long a node still follows a topic after its last reader asked.
pub const FOLLOW_LINGER: Duration = Duration::from_secs(30);

/// How far a remote stamp may push the local hybrid clock ahead of the wall clock. Later stamps are
/// stored and not adopted.
///
/// A stamp that is further ahead lies in the future: it makes no record the newest of its key, and
/// readers are shown its batch before others. This is ten times what a badly kept clock drifts in a
/// day.
pub const CLOCK_DRIFT_MAX: Duration = Duration::from_mins(1);

/// How far the stamp of a batch may be ahead of a replica's time, if its writer is not established
/// there. Such a batch is refused until its time has come. That of an established node is kept from
/// the start: its records may have been acknowledged before anybody told it what time it is.
pub const STRANGER_DRIFT_MAX: Duration = Duration::from_mins(10);

/// A clock that differs by more than this, beyond the error of the measurement, is off. Operators
/// are told. If most nodes say that a node's clock is off, that node goes by theirs. NTP keeps
/// clocks within hundredths of it.
pub const CLOCK_OFF_MIN: Duration = Duration::from_secs(1);

/// How long a node that knows others waits to compare its clock with theirs before it stamps, after
/// its start and after a jump of its clock. A round trip is enough if any node answers.
pub const CLOCK_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a measured clock counts. Two machines whose clocks run apart by 100 parts in a million
/// differ by 60 ms after that.
pub const CLOCK_AGE_MAX: Duration = Duration::from_mins(10);

/// Clocks that a node remembers: more would not move the median. Some 4 KB.
pub const CLOCKS_MAX: usize = 64;

/// Ranges of one log that are remembered because their stamps lay in the future. With more, the two
/// nearest become one. Some 1.5 KB for each log that has them.
pub const EARLY_PARTS_MAX: usize = 64;

// --- queues and tables of one node ---------------------------------------------------------

/// Most nodes that a node keeps in its member table.
pub const MEMBERS_MAX: usize = 10_000;

/// Most nodes that are said to exist and were never reached: some 600 bytes each. A node that tells
/// the truth tells it again.
pub const STRANGERS_MAX: usize = 256;

/// Those of them that one node told of.
pub const STRANGERS_PER_TELLER_MAX: usize = 64;

/// Those of them that were found on this machine or nearby.
pub const STRANGERS_FOUND_MAX: usize = 128;

/// Addresses of one of them: as many as libp2p dials at the same time.
pub const STRANGER_ADDRESSES_MAX: usize = 8;

/// Nodes of one answer that are tried: those that are not known yet. The next answer has others.
pub const CONTACTS_PER_ANSWER_MAX: usize = 64;

/// Time that a dial is counted as under way, unless the node is reached before. A dial that nobody
/// answers takes as long.
pub const DIAL_TIME: Duration = Duration::from_secs(5);

/// Dials under way of nodes that were never reached. If none answers these are three a second.
pub const STRANGER_DIALS_MAX: usize = 16;

/// Dials under way of visitors that are away: they have named their addresses themselves. If none
/// answers these are 13 a second. Nodes that are more than visitors are not counted.
pub const VISITOR_DIALS_MAX: usize = 64;

/// Batches of one topic that its writer has sealed and that are not yet acknowledged. The next
/// batch fills meanwhile.
pub const UNACKNOWLEDGED_BATCHES_MAX: usize = 4;

/// Bytes of records that wait at one node to be sealed and acknowledged, over all topics. Beyond it
/// publishers must slow down.
pub const UNACKNOWLEDGED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of batches queued for one peer. Beyond it, batches are sent when there is room again, or
/// repair brings them.
pub const PEER_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Pages that a node is importing at a time, over all clients. Each may be in memory once for
/// each replica that is slow.
pub const IMPORTS_MAX: usize = 16;

/// Pages of imports that one node was sent and has not answered. A slower node gets the rest by
/// repair.
pub const IMPORTS_PER_NODE_MAX: usize = 4;

/// Inbound requests that a node works on at the same time.
pub const QUESTIONS_MAX: usize = 4_096;

/// Bytes of recent batches that a node keeps of a followed topic, so that live readers are served
/// without a disk read.
pub const TAIL_BYTES_MAX: usize = 1024 * 1024;

/// The same over all followed topics. Up to 64 topics have [`TAIL_BYTES_MAX`] each; with more, each
/// has its share.
pub const TAILS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads of single topics that wait at one node as parts of requests for many. Two readers of all
/// topics of a large network need them; each takes half a kilobyte and its cursor.
pub const READS_MAX: usize = 32 * 1024;

/// Requests that wait at one node for names of topics to change. A new name is compared for each.
pub const NAMES_WAITING_MAX: usize = 1_024;

/// Requests that wait at one node for copies of pending records. Each surveys its topic about once
/// a second.
pub const AWAITS_MAX: usize = 1_024;

/// Topics with pending records that a node surveys in one tick, those first that were not surveyed
/// for longest. There are ten ticks a second. With three replicas these are at most 240 requests a
/// second, however many topics there are.
pub const OUTBOX_LOOKS_MAX: usize = 8;

/// Topics that are repaired from one peer at a time.
pub const REPAIR_FETCHES_PER_PEER_MAX: usize = 2;

/// Pages that a node fetches for repair at a time, over all peers. Each may be in memory twice.
pub const REPAIR_FETCHES_MAX: usize = 4;

/// Stored bytes of batches per second that a node fetches for repair. Fast enough to catch up with
/// a gigabyte in seconds; slow enough to leave disk and network to publishers.
pub const REPAIR_BYTES_PER_SECOND_MAX: u64 = 100 * 1024 * 1024;

/// How often a read is planned again if a node did not answer.
pub const READ_ATTEMPTS_MAX: u32 = 4;

/// Bytes of subscriptions in one answer.
pub const POSITIONS_BYTES_MAX: usize = 1024 * 1024;

/// Records with dedup ids that a node remembers of one topic: a hundred a second for ten minutes.
/// Some 10 MiB.
pub const RECENT_GIVEN_PER_TOPIC_MAX: usize = 64 * 1024;

/// The same over all topics. Some 20 MiB.
pub const RECENT_GIVEN_MAX: usize = 128 * 1024;

/// Runs of other records that a node remembers of one topic. A run grows while its producer is the
/// only one. With many producers, each batch has a run of each of them.
pub const RECENT_RUNS_PER_TOPIC_MAX: usize = 8 * 1024;

/// The same over all topics. Some 5 MiB.
pub const RECENT_RUNS_MAX: usize = 32 * 1024;

/// Records of each log, from its end, among which a node looks after a start for recent ones.
pub const RECALL_RECORDS_MAX: u64 = 64 * 1024;

/// Bytes of a topic that it reads for that: a fraction of a second.
pub const RECALL_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Topics that are read for that at a time. Each has a page in memory for a moment.
pub const RECALLS_MAX: usize = 4;

/// Dedup searches under way at one node. Each has as many requests under way as the topic has
/// replicas.
pub const SEARCHES_MAX: usize = 1_024;

/// Ranges that a store reports when it is asked what it holds of a topic; one more for each log.
pub const MEASURED_PARTS_MAX: usize = 1_024;

/// Ranges that one sweep compacts: each is a small write. The next sweep, some seconds later,
/// continues.
pub const SWEPT_PARTS_MAX: usize = 4_096;

/// Most bytes that a compacted range without names takes in a message.
pub const COMPACTED_START_BYTES_MAX: usize = 160;

/// Largest encoding of a compacted range, in bytes: 1,024 names of 17 bytes, and its position.
pub const COMPACTED_BYTES_MAX: usize = 20 * 1024;

/// Batches that a compacted range names, by 16 bytes each: those that a node that was away may
/// still have, or that a writer may send once more. They take at most 17 kB.
pub const COMPACTED_HASHES_MAX: usize = 1_024;

/// Names of subscriptions whose readers a node knows, the newest ones: some 200 B each.
pub const READERS_SEEN_MAX: usize = 4_096;

/// Sessions of subscribers that are distinguished under one name.
pub const SESSIONS_SEEN_MAX: usize = 4;

/// Named subscriptions of one topic.
pub const SUBSCRIPTIONS_MAX: usize = 4_096;

/// About how many records of one group its coordinator has read that are not acknowledged: some 150
/// bytes of memory each. It reads no further until members have finished some.
pub const GROUP_RECORDS_MAX: usize = 8 * 1024;

/// Runs of acknowledged records after a group's position, and records that were leased more than
/// once. Two coordinators that did not know of each other leave this many, each with
/// [`GROUP_RECORDS_MAX`] gaps.
pub const GROUP_RUNS_MAX: usize = 2 * GROUP_RECORDS_MAX;

/// Groups that one node coordinates, half a megabyte each while they are behind.
pub const GROUPS_MAX: usize = 1_024;

/// Members of one group.
pub const GROUP_MEMBERS_MAX: usize = 1_024;

/// Ranges in one message between a member and its group.
pub const GROUP_RANGES_MAX: usize = GROUP_RECORDS_MAX;

/// Shortest visibility timeout: messages take their time.
pub const VISIBILITY_MIN: Duration = Duration::from_millis(100);

/// Longest visibility timeout. A record that is leased to a member that died is delivered again
/// only after this time.
pub const VISIBILITY_MAX: Duration = Duration::from_hours(12);

/// How long a new coordinator waits for members to say what they hold: as long as a client takes to
/// find another node when its own has failed.
pub const GROUP_GRACE: Duration = Duration::from_secs(3);

/// Silence after which the coordinator forgets a member, or a group without members. What is
/// acknowledged is kept on the replicas.
pub const GROUP_IDLE: Duration = Duration::from_mins(1);

/// Bytes of the reason that a member gives for a rejected record.
pub const REASON_BYTES_MAX: usize = 512;

// How the limits relate.
const _: () = {
    assert!(SEQUENCE_MAX as u128 * FRONTIER_LOGS_MAX as u128 * 2 < u64::MAX as u128);
    assert!(BATCH_BYTES_MAX <= PAGE_BYTES_MAX, "a page holds at least one batch of any size");
    assert!(PAGE_BYTES_MAX * 2 <= MESSAGE_BYTES_MAX, "a message has room beside its page");
    assert!(PROVE_BATCHES_MAX * BATCH_BODY_BYTES_TARGET < PROVE_BYTES_MAX, "eight full batches");
    assert!(2 * BATCH_BYTES_MAX <= PROVE_BYTES_MAX && PROVE_BYTES_MAX < PAGE_BYTES_MAX);
    assert!(PROVES_WAITING_PER_ASKER_MAX < PROVES_WAITING_MAX);
    assert!(
        HEADERS_PER_PAGE_MAX * (HEADER_BYTES_MAX + 128) + PAGE_BYTES_MAX < MESSAGE_BYTES_MAX,
        "beside batches"
    );
    assert!(FORK_PROOF_BYTES_MAX * FORKS_MAX * 4 < MESSAGE_BYTES_MAX, "beside a frontier");
    assert!(
        (HEADS_BYTES_MAX + HEADER_BYTES_MAX + 128 + FORK_PROOF_BYTES_MAX * FORKS_MAX) * 2
            < MESSAGE_BYTES_MAX,
        "half of a message is for the frontier beside heads and forks"
    );
    assert!(BATCH_BODY_BYTES_TARGET < GOSSIP_BYTES_MAX, "ordinary batches are gossiped whole");
    assert!(SUSPECT_AFTER.as_millis() < DEAD_AFTER.as_millis());
    assert!(NEWCOMER_OF_FEW_FOR.as_millis() < NEWCOMER_FOR.as_millis());
    assert!(ACQUAINTED_AFTER.as_millis() > NEWCOMER_FOR.as_millis());
    assert!(CONTACTS_PER_ANSWER_MAX <= STRANGERS_PER_TELLER_MAX);
    assert!(STRANGERS_PER_TELLER_MAX < STRANGERS_MAX && STRANGERS_FOUND_MAX < STRANGERS_MAX);
    assert!(INVITES_MAX * 2 <= ROSTER_STATEMENTS_MAX / 3, "members have room beside tickets");
    assert!(HEARTBEAT_INTERVAL.as_millis() * 2 < SUSPECT_AFTER.as_millis());
};
