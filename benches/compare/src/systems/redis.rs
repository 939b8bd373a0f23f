//! Redis Streams: a primary and two replicas, all with an append-only file.

use std::{path::Path, process::Command, slice, time::Duration};

use anyhow::{Result, ensure};
use redis::{AsyncConnectionConfig, Client, Pipeline, aio::MultiplexedConnection};
use tokio::task::JoinSet;

use crate::{
    cases::{Case, Measured},
    clock,
    payloads::Payloads,
    processes::{Process, free_ports, until},
};

const SERVERS: usize = 3;
const STREAM: &str = "compare";
const WARM_UP: usize = 200;
/// Connections that share what is in flight: while one waits for a replica, the others write.
const CONNECTIONS: usize = 4;
/// In milliseconds, after which `WAIT` tells of fewer replicas than asked for.
const WAIT_LIMIT: usize = 30_000;

/// Starts the servers, publishes, and counts what is there.
pub(crate) async fn measure(
    program: &Path,
    directory: &Path,
    flushed: bool,
    case: &Case,
    messages: usize,
) -> Result<Measured> {
    let mut servers = Servers::start(program, directory, flushed)?;
    let mut connections = servers.ready().await?;
    let primary = &mut connections[0];
    publish(slice::from_ref(primary), case.size, WARM_UP, WARM_UP).await?;
    let measured = if case.one_at_a_time() {
        one_at_a_time(primary, case.size, messages).await?
    } else {
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            senders.push(connect(servers.ports[0]).await?);
        }
        let start = clock::now();
        publish(&senders, case.size, messages, case.in_flight).await?;
        Measured::throughput(messages, clock::microseconds_since(start) / 1e6)
    };
    servers.count(&mut connections, WARM_UP + messages).await?;
    Ok(measured)
}

struct Servers {
    processes: Vec<Process>,
    ports: [u16; SERVERS],
}

impl Servers {
    fn start(program: &Path, directory: &Path, flushed: bool) -> Result<Self> {
        let ports: [u16; SERVERS] = free_ports()?;
        let mut processes = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            let directory = directory.join(format!("redis-{number}"));
            let mut command = Command::new(program);
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]);
            command.arg("--dir").arg(&directory);
            command.args(["--appendonly", "yes"]);
            command.args(["--appendfsync", if flushed { "always" } else { "everysec" }]);
            // No snapshots, and no rewriting of the file in the middle of a measurement.
            command.args(["--save", "", "--auto-aof-rewrite-percentage", "0"]);
            command.args(["--repl-diskless-sync-delay", "0"]);
            if number > 0 {
                command.args(["--replicaof", "127.0.0.1", &ports[0].to_string()]);
            }
            let name = format!("redis-server {number}");
            processes.push(Process::start(&name, &directory, &mut command)?);
        }
        Ok(Self { processes, ports })
    }

    /// Connections to all, the primary's first, once both replicas follow it and append to their
    /// files.
    async fn ready(&mut self) -> Result<Vec<MultiplexedConnection>> {
        let processes = &mut self.processes;
        let mut connections = Vec::new();
        for port in self.ports {
            let connection =
                until(processes, "connecting to Redis", async || connect(port).await).await?;
            connections.push(connection);
        }
        for (number, connection) in connections.iter_mut().enumerate() {
            until(processes, "replicas that follow", async || {
                let state: String =
                    redis::cmd("INFO").arg("everything").query_async(connection).await?;
                let has = |line: &str| state.lines().any(|found| found == line);
                // After the first synchronisation a replica writes its file anew, and appends
                // to it only when that is done.
                ensure!(
                    has("aof_enabled:1")
                        && has("aof_rewrite_in_progress:0")
                        && has("aof_rewrite_scheduled:0"),
                    "a file is being rewritten"
                );
                if number == 0 {
                    let online = state.lines().filter(|line| line.contains("state=online"));
                    ensure!(online.count() == SERVERS - 1, "a replica does not follow yet");
                } else {
                    ensure!(has("master_link_status:up"), "a replica does not follow yet");
                }
                Ok(())
            })
            .await?;
        }
        Ok(connections)
    }

    /// Fails unless the primary and a replica have this many records.
    async fn count(
        &self,
        connections: &mut [MultiplexedConnection],
        expected: usize,
    ) -> Result<()> {
        let mut counts = Vec::new();
        for connection in connections {
            let count: usize = redis::cmd("XLEN").arg(STREAM).query_async(connection).await?;
            counts.push(count);
        }
        ensure!(
            counts[0] == expected && counts[1..].contains(&expected),
            "{expected} records were acknowledged, and {counts:?} are there"
        );
        Ok(())
    }
}

async fn connect(port: u16) -> Result<MultiplexedConnection> {
    let client = Client::open(("127.0.0.1", port))?;
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(Duration::from_mins(1)))
        // A pipeline is to leave in few large writes.
        .set_write_backpressure_boundary(1 << 20);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

/// Pipelines on all connections, `in_flight` records at a time, each ended by `WAIT 1`.
async fn publish(
    connections: &[MultiplexedConnection],
    size: usize,
    messages: usize,
    in_flight: usize,
) -> Result<()> {
    let mut senders = JoinSet::new();
    for (number, connection) in connections.iter().enumerate() {
        let share = |all: usize| (all + number) / connections.len();
        senders.spawn(send(connection.clone(), size, share(messages), share(in_flight)));
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    Ok(())
}

/// Pipelines one after the other on one connection.
async fn send(
    mut connection: MultiplexedConnection,
    size: usize,
    messages: usize,
    pipeline: usize,
) -> Result<()> {
    let full = append(size, pipeline);
    for _ in 0..messages / pipeline {
        acknowledged(&full, &mut connection).await?;
    }
    let rest = messages % pipeline;
    if rest > 0 {
        acknowledged(&append(size, rest), &mut connection).await?;
    }
    Ok(())
}

async fn one_at_a_time(
    connection: &mut MultiplexedConnection,
    size: usize,
    messages: usize,
) -> Result<Measured> {
    let record = append(size, 1);
    let mut microseconds = Vec::with_capacity(messages);
    for _ in 0..messages {
        let start = clock::now();
        acknowledged(&record, connection).await?;
        microseconds.push(clock::microseconds_since(start));
    }
    Measured::one_at_a_time(microseconds)
}

/// So many `XADD`, and one `WAIT` for a replica that has them.
fn append(size: usize, records: usize) -> Pipeline {
    let payloads = Payloads::new(size);
    let mut pipeline = Pipeline::with_capacity(records + 1);
    for number in 0..records {
        let payload = payloads.make(number);
        pipeline.cmd("XADD").arg(STREAM).arg("*").arg("d").arg(&payload[..]).ignore();
    }
    pipeline.cmd("WAIT").arg(1).arg(WAIT_LIMIT);
    pipeline
}

async fn acknowledged(pipeline: &Pipeline, connection: &mut MultiplexedConnection) -> Result<()> {
    let (replicas,): (usize,) = pipeline.query_async(connection).await?;
    ensure!(replicas >= 1, "no replica has the records");
    Ok(())
}
