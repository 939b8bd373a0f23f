//! The first program of `docs/library.md`: a node, a topic and a record, in ten lines.
//!
//! ```sh
//! cargo run --example first    # keeps its topics in the directory `data`
//! ```

#![expect(clippy::print_stdout, reason = "it shows the record")]

use antiphon_node::{Node, NodeConfig, Start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::start(NodeConfig::on_loopback("data")).await?;
    let quakes = node.client().topic("quakes")?;
    quakes.create_if_missing().await?;
    quakes.publish("M 5.3, 50km NNW of Sangiang").await?;
    let mut stream = quakes.subscribe(Start::Beginning).await?;
    println!("{:?}", stream.try_next().await?);
    Ok(node.stop().await?)
}
