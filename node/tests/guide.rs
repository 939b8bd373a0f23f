//! The code of `docs/library.md`, which runs. Its first program is `examples/first.rs`.

use std::{error::Error, path::PathBuf, time::Duration};

use antiphon_node::{
    Client, ClientConfig, Delivered, Multiaddr, Node, NodeConfig, PublishError, PublishOptions,
    Record, Start, Topic, TopicChanges, TopicOptions,
};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What the records said that were handled, the last one last.
#[derive(Debug, Default)]
struct Handled(Vec<String>);

impl Handled {
    fn take(&mut self, delivered: &Delivered) {
        self.0.push(String::from_utf8_lossy(&delivered.record.payload).into_owned());
    }
}

/// Not run: it would join whatever nodes are on the LAN.
#[expect(dead_code, reason = "that it compiles is enough")]
async fn one_that_finds_others(data: PathBuf) -> Outcome<Node> {
    let node = Node::start(NodeConfig::new(data)).await?;
    let client = node.client();
    client.nodes().await?;
    Ok(node)
}

async fn somebody_elses(address: Multiaddr) -> Outcome<Client> {
    let config = ClientConfig::new().nodes([address]);
    let client = Client::connect(config).await?;
    Ok(client)
}

#[expect(clippy::print_stdout, reason = "the guide says so")]
async fn the_first_record(client: &Client) -> Outcome<Topic> {
    let quakes = client.topic("quakes")?;
    quakes.create_if_missing().await?;
    let receipt = quakes.publish("M 5.3, 50km NNW of Sangiang").await?;
    println!("on {} disks", receipt.copies);
    match quakes.publish("M 2.1, 8km SW of Idyllwild, CA").await {
        Ok(receipt) => println!("on {} disks", receipt.copies),
        Err(PublishError::Pending(mut pending)) => {
            println!("on {} of {} disks so far", pending.copies(), pending.wanted());
            pending.wait().await?;
        }
        Err(error) if error.is_retriable() => println!("later: {error}"),
        Err(error) => return Err(error.into()),
    }
    let week = client.topic("quakes.week")?;
    let options = TopicOptions::new().replicas(5).max_age(Duration::from_hours(7 * 24));
    week.create_with(options.if_missing()).await?;
    let record = Record::from("M 5.3, 50km NNW of Sangiang");
    quakes.publish(record.with_key("us").with_header("magnitude", "5.3")).await?;
    Ok(quakes)
}

/// A client of another process would need the key of the node's operator.
async fn other_terms(client: &Client) -> Outcome<()> {
    let week = client.topic("quakes.week")?;
    week.alter(TopicChanges::new().max_age(None).max_bytes(1_000_000_000)).await?;
    Ok(())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Quake {
    id: String,
    magnitude: f64,
}

async fn values_and_ids(client: &Client, quakes: &Topic) -> Outcome<()> {
    let quake = Quake { id: "us7000kufc".into(), magnitude: 5.3 };
    quakes.publish(Record::json(&quake)?.with_key("us")).await?;
    let record = Record::json(&quake)?.with_id(&quake.id);
    quakes.publish(record.clone()).await?;
    let receipt = quakes.publish(record).await?;
    assert!(receipt.duplicate);
    let dead = client.topic("jobs.dead")?;
    dead.create_if_missing().await?;
    let jobs = client.topic("jobs")?;
    jobs.create_if_missing().await?;
    let mut given_up = dead.fetch(Start::Beginning).await?;
    while let Some(delivered) = given_up.try_next().await? {
        jobs.publish(delivered.record.without_own_headers()).await?;
    }
    Ok(())
}

async fn many_records(quakes: &Topic, lines: [&str; 3]) -> Outcome<()> {
    let mut publisher = quakes.publisher(PublishOptions::default());
    let mut deliveries = Vec::new();
    for line in lines {
        deliveries.push(publisher.publish(line).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

async fn what_there_is(quakes: &Topic) -> Outcome<usize> {
    let stored = quakes.fetch(Start::Beginning).await?;
    let records: Vec<_> = stored.try_collect().await?;
    let newest: Quake = records[records.len() - 1].json()?;
    assert_eq!(newest.id, "us7000kufc");
    Ok(records.len())
}

async fn history_then_live(quakes: &Topic) -> Outcome<()> {
    let mut handled = Handled::default();
    let mut handle = |delivered: &Delivered| handled.take(delivered);
    let mut cursor = String::new();
    let mut left = 5;
    let mut stream = quakes.subscribe(Start::Last(20)).await?;
    while let Some(delivered) = stream.try_next().await? {
        handle(&delivered);
        cursor = stream.cursor().to_string();
        left -= 1;
        if left == 0 {
            break;
        }
    }
    drop(stream);
    let mut stream = quakes.subscribe(Start::At(cursor.parse()?)).await?;
    let delivered = stream.try_next().await?.ok_or("it does not end")?;
    handle(&delivered);
    let sangiang = "M 5.3, 50km NNW of Sangiang";
    let idyllwild = "M 2.1, 8km SW of Idyllwild, CA";
    assert_eq!(handled.0, [sangiang, idyllwild, sangiang, "one", "two", "three"]);
    Ok(())
}

async fn durable_subscriptions(quakes: &Topic) -> Outcome<()> {
    let mut handled = Handled::default();
    for last in ["two", "three"] {
        let mut handle = |delivered: &Delivered| handled.take(delivered);
        let mut quakes = quakes.subscribe_as("alarm", Start::Beginning).await?;
        while let Some((delivered, acknowledgement)) = quakes.try_next().await? {
            handle(&delivered);
            acknowledgement.acknowledge();
            if delivered.record.payload == last {
                break;
            }
        }
        quakes.commit().await?;
    }
    let sangiang = "M 5.3, 50km NNW of Sangiang";
    let idyllwild = "M 2.1, 8km SW of Idyllwild, CA";
    assert_eq!(handled.0, [sangiang, idyllwild, sangiang, "one", "two", "three"], "each once");
    Ok(())
}

#[tokio::test]
async fn the_guide_runs_from_the_first_record_to_durable_subscriptions() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(NodeConfig::on_loopback(directory.path())).await?;
    let client = somebody_elses(node.addresses()[0].clone()).await?;
    let quakes = the_first_record(&client).await?;
    other_terms(&node.client()).await?;
    many_records(&quakes, ["one", "two", "three"]).await?;
    history_then_live(&quakes).await?;
    durable_subscriptions(&quakes).await?;
    values_and_ids(&client, &quakes).await?;
    assert_eq!(what_there_is(&quakes).await?, 8, "each id once");
    node.stop().await?;
    Ok(())
}

#[test]
fn all_code_of_the_guide_is_here() {
    let lines = |text: &'static str| text.lines().map(str::trim).collect::<Vec<_>>();
    let mut here = lines(include_str!("../../examples/first.rs"));
    here.extend(lines(include_str!("guide.rs")));
    let guide = include_str!("../../docs/library.md");
    let blocks: Vec<_> = guide.split("```rust\n").skip(1).collect();
    assert!(blocks.len() > 8, "the guide has code");
    for block in blocks {
        let (code, _) = block.split_once("```").expect("a block ends");
        let mut from = 0;
        for line in lines(code) {
            let found = here[from..].iter().position(|of| *of == line);
            // A block is in order, with what makes it a test in between.
            let at = found.unwrap_or_else(|| panic!("`{line}` of the guide does not run:\n{code}"));
            from += at + 1;
        }
    }
}
