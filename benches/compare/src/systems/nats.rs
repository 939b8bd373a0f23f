//! NATS JetStream: three servers, a stream of three file replicas.

use std::{
    collections::VecDeque, fs, future::IntoFuture, path::Path, process::Command, time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use async_nats::{
    Client, ConnectOptions, HeaderMap, Subject,
    header::{NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE},
    jetstream::{
        Context,
        context::{ContextBuilder, PublishAckFuture},
        message::PublishMessage,
        stream::{Config, StorageType, Stream},
    },
};

use crate::{
    cases::{Case, Measured},
    clock,
    payloads::Payloads,
    processes::{Process, free_ports, until},
};

const SERVERS: usize = 3;
const STREAM: &str = "COMPARE";
const SUBJECT: &str = "compare";
/// Sent before the clock starts, so that no connection or file is new.
const WARM_UP: usize = 200;
/// The most records that a server takes in one atomic batch.
const BATCH: usize = 1000;

/// When its servers flush, and how records are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// `sync_interval: always`, else what a server has by default: every two minutes.
    pub(crate) flushed: bool,
    /// Atomic batches, else one message a record.
    pub(crate) batches: bool,
}

/// Starts a cluster, publishes, and counts what is there.
pub(crate) async fn measure(
    program: &Path,
    directory: &Path,
    settings: Settings,
    case: &Case,
    messages: usize,
) -> Result<Measured> {
    let cluster = Cluster::start(program, directory, settings.flushed)?;
    let mut publisher = cluster.publisher(case).await?;
    publisher.singly(WARM_UP, case.in_flight).await?;
    let measured = if case.one_at_a_time() {
        publisher.one_at_a_time(messages).await?
    } else {
        let start = clock::now();
        if settings.batches {
            publisher.in_batches(messages, case.in_flight).await?;
        } else {
            publisher.singly(messages, case.in_flight).await?;
        }
        Measured::throughput(messages, clock::microseconds_since(start) / 1e6)
    };
    let there = publisher.stream.get_info().await?.state.messages;
    ensure!(
        there == u64::try_from(WARM_UP + messages)?,
        "{} records were acknowledged, and {there} are there",
        WARM_UP + messages
    );
    Ok(measured)
}

struct Cluster {
    servers: Vec<Process>,
    ports: [u16; SERVERS],
}

impl Cluster {
    fn start(program: &Path, directory: &Path, flushed: bool) -> Result<Self> {
        let all: [u16; 2 * SERVERS] = free_ports()?;
        let [a, b, c, routes @ ..] = all;
        let ports = [a, b, c];
        let routes_text = routes.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
        let sync = if flushed { "sync_interval: always" } else { "" };
        let mut servers = Vec::new();
        for (number, (port, route)) in ports.iter().zip(routes).enumerate() {
            let directory = directory.join(format!("nats-{number}"));
            fs::create_dir_all(&directory)?;
            let configuration = directory.join("server.conf");
            fs::write(
                &configuration,
                format!(
                    "server_name: \"{number}\"\n\
                     listen: \"127.0.0.1:{port}\"\n\
                     jetstream {{ store_dir: \"{store}\"\n {sync} }}\n\
                     cluster {{ name: compare\n listen: \"127.0.0.1:{route}\"\n routes: [{routes_text}] }}\n",
                    store = directory.join("store").display(),
                ),
            )?;
            let mut command = Command::new(program);
            command.arg("--config").arg(&configuration);
            servers.push(Process::start(
                &format!("nats-server {number}"),
                &directory,
                &mut command,
            )?);
        }
        Ok(Self { servers, ports })
    }

    /// A publisher that is connected to the leader of a new stream, which spares it a hop.
    async fn publisher(mut self, case: &Case) -> Result<Publisher> {
        let (servers, ports) = (&mut self.servers, self.ports);
        let context =
            until(servers, "connecting to NATS", async || connect(ports[0], case.in_flight).await)
                .await?;
        let stream = until(servers, "creating the stream", async || {
            let config = Config {
                name: STREAM.to_owned(),
                subjects: vec![SUBJECT.to_owned()],
                storage: StorageType::File,
                num_replicas: SERVERS,
                allow_atomic_publish: true,
                ..Config::default()
            };
            Ok(context.get_or_create_stream(config).await?)
        })
        .await?;
        let leader = until(servers, "a leader with current followers", async || {
            let cluster = stream.get_info().await?.cluster.context("not in a cluster")?;
            let current = cluster.replicas.iter().filter(|replica| replica.current).count();
            ensure!(current == SERVERS - 1, "{current} followers are current");
            let leader: usize = cluster.leader.context("no leader")?.parse()?;
            Ok(leader)
        })
        .await?;
        let port = *ports.get(leader).context("an unknown leader")?;
        let context = connect(port, case.in_flight).await?;
        Ok(Publisher {
            stream: context.get_stream(STREAM).await?,
            client: context.client(),
            context,
            payloads: Payloads::new(case.size),
            batches: 0,
            _cluster: self,
        })
    }
}

async fn connect(port: u16, in_flight: usize) -> Result<Context> {
    let client = ConnectOptions::new()
        .ignore_discovered_servers()
        .connect(format!("nats://127.0.0.1:{port}"))
        .await?;
    Ok(ContextBuilder::new()
        .timeout(Duration::from_secs(30))
        .ack_timeout(Duration::from_secs(30))
        .max_ack_inflight(in_flight.max(WARM_UP))
        .backpressure_on_inflight(true)
        .build(client))
}

struct Publisher {
    context: Context,
    client: Client,
    stream: Stream,
    payloads: Payloads,
    /// How many batches it has sent, which gives each its name.
    batches: usize,
    _cluster: Cluster,
}

impl Publisher {
    /// One message a record, `in_flight` of them at a time.
    async fn singly(&self, messages: usize, in_flight: usize) -> Result<()> {
        let subject = Subject::from_static(SUBJECT);
        let mut under_way: VecDeque<PublishAckFuture> = VecDeque::with_capacity(in_flight);
        for number in 0..messages {
            if under_way.len() >= in_flight
                && let Some(oldest) = under_way.pop_front()
            {
                oldest.await?;
            }
            let payload = self.payloads.make(number);
            under_way.push_back(self.context.publish(subject.clone(), payload).await?);
        }
        for acknowledgement in under_way {
            acknowledgement.await?;
        }
        Ok(())
    }

    async fn one_at_a_time(&self, messages: usize) -> Result<Measured> {
        let subject = Subject::from_static(SUBJECT);
        let mut microseconds = Vec::with_capacity(messages);
        for number in 0..messages {
            let start = clock::now();
            let payload = self.payloads.make(number);
            self.context.publish(subject.clone(), payload).await?.await?;
            microseconds.push(clock::microseconds_since(start));
        }
        Measured::one_at_a_time(microseconds)
    }

    /// Atomic batches, as many at a time as make `in_flight` records.
    async fn in_batches(&mut self, messages: usize, in_flight: usize) -> Result<()> {
        let size = batch_size(in_flight);
        let at_a_time = (in_flight / size).max(1);
        let mut under_way: VecDeque<(PublishAckFuture, usize)> = VecDeque::new();
        let mut left = messages;
        while left > 0 {
            if under_way.len() >= at_a_time
                && let Some((oldest, records)) = under_way.pop_front()
            {
                committed(oldest, records).await?;
            }
            let records = left.min(size);
            under_way.push_back((self.batch(records).await?, records));
            left -= records;
        }
        for (acknowledgement, records) in under_way {
            committed(acknowledgement, records).await?;
        }
        Ok(())
    }

    /// Sends one batch. Only its last message, which commits, is answered.
    async fn batch(&mut self, records: usize) -> Result<PublishAckFuture> {
        self.batches += 1;
        let name = self.batches.to_string();
        let subject = Subject::from_static(SUBJECT);
        let headers = |sequence: usize| {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_BATCH_ID, name.as_str());
            headers.insert(NATS_BATCH_SEQUENCE, sequence.to_string());
            headers
        };
        for sequence in 1..records {
            let payload = self.payloads.make(sequence);
            self.client.publish_with_headers(subject.clone(), headers(sequence), payload).await?;
        }
        let mut last = headers(records);
        last.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
        let message = PublishMessage::build().payload(self.payloads.make(records)).headers(last);
        Ok(self.context.send_publish(subject, message).await?)
    }
}

fn batch_size(in_flight: usize) -> usize {
    in_flight.min(BATCH)
}

async fn committed(acknowledgement: PublishAckFuture, records: usize) -> Result<()> {
    let stored = acknowledgement.into_future().await?.batch_size;
    ensure!(stored == Some(u64::try_from(records)?), "{stored:?} of a batch of {records} stored");
    Ok(())
}
