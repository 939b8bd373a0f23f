//! A chat on the LAN that remembers, without a server: every instance is a node, each room a topic.
//!
//! ```sh
//! cargo run --example chat -- --name ann             # the room `lobby`
//! cargo run --example chat -- --name bob             # on this machine or another one of the LAN
//! cargo run --example chat -- --name ann --room tea
//! ```
//!
//! Nodes find each other by mDNS, and on one machine through a directory. Whoever comes later sees the
//! last lines and then what is said; whoever is alone goes on alone, and what was said there is with
//! the others as soon as they meet. Ctrl-D leaves.

#![expect(clippy::print_stdout, reason = "a chat is written to the terminal")]

use std::{collections::BTreeSet, io::BufRead, path::PathBuf, time::Duration};

use antiphon_node::{
    Client, Network, Node, NodeConfig, Record, RecordId, StartError, TopicName,
    client::{
        Delivered, Delivery, NodeState, PublishError, PublishOptions, RequestError, Start, Topic,
    },
};
use anyhow::Context;
use clap::Parser;
use futures::{StreamExt, stream::FuturesUnordered};
use jiff::{Timestamp, tz::TimeZone};
use tokio::sync::mpsc;

/// Lines of before that are shown.
const HISTORY: u64 = 20;

/// Time in which the others of a LAN are found, if there are any.
const MEETING_TIME: Duration = Duration::from_secs(2);

/// Time in which whoever leaves waits for the others to have what was said before they came.
const PASSING_TIME: Duration = Duration::from_secs(10);

/// Typed lines that wait to be sent; beyond it, typing waits.
const TYPED_MAX: usize = 16;

/// Chats on the LAN; Ctrl-D leaves.
#[derive(Debug, Parser)]
struct Options {
    /// Your name
    #[arg(long, env = "USER")]
    name: String,
    /// The room
    #[arg(long, default_value = "lobby")]
    room: String,
    /// Where your node keeps the rooms; without it, a place of your user for this name
    #[arg(long)]
    data: Option<PathBuf>,
    /// The network; chats of different ones do not meet
    #[arg(long, default_value = "chat")]
    network: Network,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let topic: TopicName =
        format!("rooms.{}", options.room).parse().context("this room cannot be a topic")?;
    let data = match options.data {
        Some(data) => data,
        None => usual_place(&options.name)?,
    };
    let config = NodeConfig::new(data).network(options.network);
    let node = match Node::start(config).await {
        Err(StartError::DataInUse(_)) => {
            anyhow::bail!("{} chats here already; take another --name", options.name)
        }
        started => started?,
    };
    let others = meet(&node.client()).await?;
    println!("* {} and {others} others; Ctrl-D leaves", options.name);
    let room = node.client().topic(topic)?;
    chat(&node, &room, &options.name).await?;
    if !pass_on(&room).await? {
        println!("* the others do not have all of it; they will when you are back");
    }
    node.stop().await?;
    println!("* bye");
    Ok(())
}

/// Shows what was and is said in a room, and says what is typed, until there is no more of that.
async fn chat(node: &Node, room: &Topic, name: &str) -> anyhow::Result<()> {
    room.create_if_missing().await?;
    let mut said = room.subscribe(Start::Last(HISTORY)).await?;
    let mut publisher = room.publisher(PublishOptions::default());
    let mut under_way: FuturesUnordered<Delivery> = FuturesUnordered::new();
    // What was typed here stands on the terminal already.
    let mut own: BTreeSet<RecordId> = BTreeSet::new();
    let mut typed = typed_lines();
    let mut typing = true;
    while typing || !under_way.is_empty() {
        tokio::select! {
            Some(delivered) = said.next() => match delivered {
                Ok(delivered) if own.remove(&delivered.id) => {}
                Ok(delivered) => println!("{}", line(&delivered)),
                Err(error) => {
                    println!("* {error}; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            },
            text = typed.recv(), if typing => match text {
                Some(text) if text.trim().is_empty() => {}
                Some(text) => {
                    let record = Record::from(text).with_key(name.to_owned());
                    let delivery = publisher.publish(&record).await?;
                    own.insert(delivery.id());
                    under_way.push(delivery);
                }
                None => typing = false,
            },
            Some(outcome) = under_way.next() => match outcome {
                Ok(_) => {}
                Err(PublishError::Pending(_)) => {
                    println!("* nobody else has that yet; it is kept and will be delivered");
                }
                Err(error) => println!("* not sent: {error}"),
            },
            _ = tokio::signal::ctrl_c() => typing = false,
            error = node.failed() => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until another node is there, or none is found in the time for that; how many there are.
async fn meet(client: &Client) -> anyhow::Result<usize> {
    let meeting = tokio::time::sleep(MEETING_TIME);
    tokio::pin!(meeting);
    loop {
        let nodes = client.nodes().await?;
        let others = nodes.iter().skip(1).filter(|node| node.state == NodeState::Alive).count();
        if others > 0 || meeting.is_elapsed() {
            return Ok(others);
        }
        tokio::select! {
            () = &mut meeting => {}
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}

/// Waits until the others who keep this room have all that was said in it; whether they do in the time
/// for that. Whoever is alone has nobody to wait for.
async fn pass_on(room: &Topic) -> anyhow::Result<bool> {
    let all_have_it = async {
        loop {
            let replicas = room.info().await?.replicas;
            let mut alive = replicas.iter().filter(|replica| replica.state == NodeState::Alive);
            if alive.all(|replica| replica.is_complete) {
                return Ok::<_, RequestError>(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    match tokio::time::timeout(PASSING_TIME, all_have_it).await {
        Ok(outcome) => outcome.map(|()| true).map_err(Into::into),
        Err(_elapsed) => Ok(false),
    }
}

/// A record as a line. What others send must not steer the terminal.
fn line(delivered: &Delivered) -> String {
    let text = |bytes: &[u8]| -> String {
        String::from_utf8_lossy(bytes).chars().filter(|char| !char.is_control()).collect()
    };
    let record = &delivered.record;
    let time = record.published_at().and_then(|time| Timestamp::try_from(time).ok());
    let time = time
        .unwrap_or_default()
        .to_zoned_datetime(TimeZone::system())
        .strftime("%H:%M")
        .to_string();
    let name = record.key.as_deref().map_or_else(|| "?".to_owned(), text);
    format!("{time} {name}: {}", text(&record.payload))
}

/// Lines from standard input, read by a thread that the end of the program does not wait for.
fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(TYPED_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn usual_place(name: &str) -> anyhow::Result<PathBuf> {
    let is_plain = |char: char| char.is_alphanumeric() || "-_".contains(char);
    anyhow::ensure!(
        name.chars().all(is_plain),
        "a name other than letters and digits needs --data"
    );
    let place = dirs::data_local_dir().context("there is no place for data; name one by --data")?;
    Ok(place.join("antiphon-chat").join(name))
}
