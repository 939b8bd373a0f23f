//! The topic that is imported: created where it is not there.

use antiphon::{
    model::{Descriptor, TopicName, Writers},
    wire::{self, MemberState, archive::Opening},
};
use antiphon_node::client::{Client, Refusal, RequestError};

use crate::{arguments::Import, exit::Failure, values::Floor};

/// Creates the topic with the terms that it had; whether it was there.
pub(super) async fn create(
    client: &Client,
    opening: &Opening,
    name: &TopicName,
    arguments: &Import,
) -> anyhow::Result<bool> {
    let terms = opening.descriptor.descriptor();
    let min_copies = match arguments.min_copies {
        Some(Floor::Copies(floor)) => Some(floor),
        None if !terms.floor_follows => Some(terms.min_copies),
        Some(Floor::Auto) | None => None,
    };
    let replicas = arguments.replicas.unwrap_or(terms.replicas);
    match client.survey(name).await {
        Err(RequestError::Refused(Refusal::UnknownTopic { .. })) => {
            check_terms(client, terms, replicas, min_copies.unwrap_or(1)).await?;
        }
        surveyed => {
            if surveyed?.end.topic != opening.topic() {
                return Err(is_another(name).into());
            }
        }
    }
    let create = wire::Create {
        replicas: Some(replicas),
        min_copies,
        if_not_exists: true,
        retention: terms.retention,
        origin: Some(opening.topic()),
        ..wire::Create::new(name.clone())
    };
    match client.create(create).await {
        Ok((_, existed)) => Ok(existed),
        Err(RequestError::Refused(Refusal::TopicExists(other))) if other == name.as_str() => {
            Err(is_another(name).into())
        }
        Err(RequestError::Refused(Refusal::TopicExists(other))) => {
            let message = format!("these are the records of topic `{other}` of this network");
            let hint = "leave out `--as`: a topic has one name, and is restored under it";
            Err(Failure::failed(message).with_hint(hint).into())
        }
        Err(error) => Err(error.into()),
    }
}

fn is_another(name: &TopicName) -> Failure {
    Failure::failed(format!("another topic `{name}` exists already"))
        .with_hint("`--as NAME` imports the records under another name")
}

/// Terms that cannot hold here are told before anything is created.
async fn check_terms(
    client: &Client,
    terms: &Descriptor,
    replicas: u16,
    min_copies: u16,
) -> anyhow::Result<()> {
    if min_copies > replicas {
        let message = format!("{min_copies} copies are more than the {replicas} replicas");
        let hint = format!("ask for `--min-copies` of at most {replicas}, or more `--replicas`");
        return Err(Failure::usage(message).with_hint(hint).into());
    }
    if terms.writers != Writers::Anyone || terms.encryption_key.is_some() {
        let message = "the topic's list of writers, or its key, cannot be set here";
        let hint = "import it in its own network";
        return Err(Failure::failed(message).with_hint(hint).into());
    }
    let peers = client.peers().await?;
    let alive = peers.iter().filter(|peer| peer.state == MemberState::Alive).count() as u64;
    if alive < u64::from(min_copies) {
        let here = if alive == 1 { "1 node is".to_owned() } else { format!("{alive} nodes are") };
        let message = format!("the topic needs {min_copies} copies, and {here} here");
        let hint = format!("start more nodes, or import it with `--min-copies {alive}`");
        return Err(Failure::failed(message).with_hint(hint).into());
    }
    Ok(())
}
