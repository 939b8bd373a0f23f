//! A work queue: jobs are published to a topic, and workers share them as a group.
//!
//! ```sh
//! cargo run --example jobs                         # a queue of its own: 40 jobs, 3 workers, 1 that dies
//! cargo run --example jobs -- --jobs 500 --workers 8
//! cargo run --example jobs -- --node /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW…
//! ```
//!
//! A job is a record; what belongs together has one key, and is worked on in order. A worker that
//! fails says why, and the job is tried again after a pause that grows. A worker that dies says
//! nothing: what it had goes to others when its time is over. A job that nobody can do ends in
//! `TOPIC.dead`, with the reason.

#![expect(clippy::print_stdout, reason = "it tells what it does")]

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use antiphon_node::{
    Client, ClientConfig, Multiaddr, Network, Node, NodeConfig, Record, TopicName,
    client::{GroupCounts, GroupOptions, Member, PublishOptions, Start, Topic, Work},
};
use clap::Parser;
use tokio::{sync::watch, task::JoinSet};

/// How often a job is tried.
const TRIES: u32 = 3;

/// Time for a worker to be done with a job, before others get it.
const VISIBILITY: Duration = Duration::from_secs(2);

/// Publishes jobs, and works on them.
#[derive(Debug, Parser)]
struct Options {
    /// Jobs to publish
    #[arg(long, default_value_t = 40)]
    jobs: usize,
    /// Workers, beside one that dies over its first job
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// The topic; made if it is not there
    #[arg(long, default_value = "jobs")]
    topic: TopicName,
    /// A running node; without it, one of its own
    #[arg(long, value_name = "MULTIADDR")]
    node: Option<Multiaddr>,
    /// The network of that node
    #[arg(long, default_value_t)]
    network: Network,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let Some(address) = options.node.clone() else {
        let data = tempfile::tempdir()?;
        let node = Node::start(NodeConfig::on_loopback(data.path())).await?;
        run(&node.client(), &options).await?;
        return Ok(node.stop().await?);
    };
    let config = ClientConfig::new().network(options.network.clone()).nodes([address]);
    run(&Client::connect(config).await?, &options).await
}

async fn run(client: &Client, options: &Options) -> anyhow::Result<()> {
    let topic = client.topic(&options.topic)?;
    topic.create_if_missing().await?;
    // Before there are jobs, so that what an earlier run left is theirs as well.
    let settings = GroupOptions::new()
        .start(Start::End)
        .visibility(VISIBILITY)
        .deliveries_max(TRIES)
        .prefetch(4);
    let join = || client.member(&options.topic, "workers", settings.clone());
    let mortal = join().await?;
    publish(&topic, options.jobs).await?;
    die(mortal).await?;

    let open: Arc<Mutex<BTreeSet<usize>>> = Arc::new(Mutex::new((0..options.jobs).collect()));
    let (finished, all_done) = watch::channel(options.jobs == 0);
    let mut workers = JoinSet::new();
    for number in 0..options.workers.max(1) {
        let worker = Worker { number, open: Arc::clone(&open), finished: finished.clone() };
        workers.spawn(worker.work(join().await?, all_done.clone()));
    }
    let (mut records, mut again, mut dead_lettered) = (0, 0, 0);
    while let Some(counts) = workers.join_next().await {
        let counts = counts??;
        records += counts.records;
        again += counts.redelivered;
        dead_lettered += counts.dead_lettered;
    }
    println!("{} jobs: {records} tries, {again} of them not the first", options.jobs);
    if dead_lettered == 0 && options.jobs > 13 {
        move_what_is_left(join().await?).await?;
    }
    report_dead(client, options).await
}

async fn publish(topic: &Topic, jobs: usize) -> anyhow::Result<()> {
    let mut publisher = topic.publisher(PublishOptions::default());
    let mut under_way = Vec::new();
    for job in 0..jobs {
        // Jobs of one customer are worked on in order.
        let record = Record::from(format!("{job}")).with_key(format!("customer {}", job % 7));
        under_way.push(publisher.publish(&record).await?);
    }
    for delivery in under_way {
        delivery.await?;
    }
    println!("{jobs} jobs are published");
    Ok(())
}

/// A worker that dies over the first job it gets: it neither acknowledges nor leaves.
async fn die(mut member: Member) -> anyhow::Result<()> {
    if let Ok(work) = tokio::time::timeout(VISIBILITY, member.next()).await {
        println!("worker x: dies over job {}", String::from_utf8_lossy(&work?.record.payload));
    }
    Ok(())
}

struct Worker {
    number: usize,
    /// The jobs that are neither done nor given up.
    open: Arc<Mutex<BTreeSet<usize>>>,
    finished: watch::Sender<bool>,
}

impl Worker {
    async fn work(
        self,
        mut member: Member,
        mut all_done: watch::Receiver<bool>,
    ) -> anyhow::Result<GroupCounts> {
        loop {
            // To stop waiting is safe: what was not handed out goes to another worker.
            let work = tokio::select! {
                work = member.next() => work?,
                _ = all_done.wait_for(|done| *done) => break,
            };
            match self.attempt(&work).await {
                Ok(job) => {
                    member.acknowledge(work);
                    // What was done is kept before anybody is told.
                    member.commit().await?;
                    self.close(job);
                }
                Err(reason) => {
                    let pause = Duration::from_millis(50) * 2_u32.pow(work.deliveries);
                    println!("worker {}: {reason}; again in {pause:?}", self.number);
                    if work.deliveries >= TRIES {
                        self.close(job_of(&work));
                    }
                    member.reject(work, &reason, pause);
                    member.commit().await?;
                }
            }
        }
        Ok(member.leave().await?)
    }

    /// Every tenth job fails the first time, and one always does.
    async fn attempt(&self, work: &Work) -> Result<usize, String> {
        let job = job_of(work);
        tokio::time::sleep(Duration::from_millis(5)).await;
        match (job, work.deliveries) {
            (13, _) => Err(format!("job {job} cannot be done")),
            (_, 1) if job % 10 == 5 => Err(format!("job {job} failed, as it does the first time")),
            (_, tries) => {
                println!("worker {}: job {job} is done, try {tries}", self.number);
                Ok(job)
            }
        }
    }

    fn close(&self, job: usize) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&job);
        if open.is_empty() {
            self.finished.send_replace(true);
        }
    }
}

fn job_of(work: &Work) -> usize {
    String::from_utf8_lossy(&work.record.payload).parse().unwrap_or_default()
}

/// Whoever asks for work next moves what was tried too often; here nobody may have asked any more.
async fn move_what_is_left(mut member: Member) -> anyhow::Result<()> {
    while member.counts().dead_lettered == 0 {
        let next = tokio::time::timeout(Duration::from_millis(200), member.next()).await;
        anyhow::ensure!(next.is_err(), "nothing was left to work on");
    }
    member.leave().await?;
    Ok(())
}

/// The jobs that nobody could do.
async fn report_dead(client: &Client, options: &Options) -> anyhow::Result<()> {
    if options.jobs <= 13 {
        return Ok(());
    }
    let dead = client.topic(format!("{}.dead", options.topic))?;
    let mut records = dead.fetch(Start::Beginning).await?;
    while let Some(delivered) = records.try_next().await? {
        let record = delivered.record;
        let header = |name: &str| {
            let found = record.headers.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        println!(
            "job {} was given up after {} tries: {}",
            String::from_utf8_lossy(&record.payload),
            header("antiphon-deliveries"),
            header("antiphon-reason")
        );
    }
    Ok(())
}
