//! Who may operate a node, as programs see it.

use antiphon_node::{
    Client, ClientConfig, Node, NodeConfig, OperatorKey, RequestError,
    client::{Refusal, Right, TopicChanges},
};

use crate::library::{node, topic, until_alive};

async fn client(node: &Node, key: Option<OperatorKey>) -> Client {
    let mut config = ClientConfig::new().nodes(node.addresses());
    config.operator_key = key;
    Client::connect(config).await.expect("it runs")
}

/// The right that a client lacks.
fn lacking<T>(outcome: Result<T, RequestError>) -> Option<Right> {
    match outcome {
        Ok(_) => None,
        Err(RequestError::Refused(Refusal::NotAllowed { right, .. })) => Some(right),
        Err(other) => panic!("{other}"),
    }
}

/// What a client of a topic lacks to alter it, and to delete it.
async fn lacks(client: &Client) -> [Option<Right>; 2] {
    let topic = topic(client, "t").await;
    let altered = topic.alter(TopicChanges::new().max_records(7)).await;
    [lacking(altered), lacking(topic.delete().await)]
}

#[tokio::test]
async fn a_client_needs_the_operators_key_and_the_nodes_own_program_does_not() {
    let (first, _directory) = node(None).await;
    let (second, _other_directory) = node(Some(&first)).await;
    until_alive(&first.client(), 2).await;
    until_alive(&second.client(), 2).await;
    let key = |node: &Node| Some(OperatorKey::of_data(node.data()).expect("it has one"));

    let [none, wrong] = [client(&first, None).await, client(&first, key(&second)).await];
    for client in [&none, &wrong] {
        assert_eq!(lacks(client).await, [Some(Right::Manage); 2]);
        let operator = client.operator();
        assert_eq!(lacking(operator.leave(first.id()).await), Some(Right::Operate));
        assert_eq!(lacking(operator.forget(second.id()).await), Some(Right::Operate));
    }
    assert_eq!(lacks(&first.client()).await, [None; 2]);
    assert_eq!(first.operator().forget(second.id()).await, Ok(false), "it is there");
    let right = client(&first, key(&first)).await;
    assert_eq!(lacks(&right).await, [None; 2]);
    // It has left word where the key is.
    let found = OperatorKey::of_node(first.id()).expect("it can be read").expect("it is known");
    assert_eq!(lacks(&client(&first, Some(found)).await).await, [None; 2]);

    right.operator().leave(first.id()).await.expect("it leaves");
    first.failed().await;
    second.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn open_admin_lets_any_client_alter_and_delete_and_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("shared");
    let config = NodeConfig::on_loopback(directory.path().join("data")).operator_key(&key);
    let node = Node::start(config.open_admin(true)).await.unwrap();
    assert!(!node.data().join("operator").exists());
    let anybody = client(&node, None).await;
    assert_eq!(lacks(&anybody).await, [None; 2]);
    assert_eq!(lacking(anybody.operator().leave(node.id()).await), Some(Right::Operate));
    let operator = client(&node, Some(OperatorKey::load(&key).unwrap())).await.operator();
    let alone = operator.leave(node.id()).await;
    assert_eq!(alone, Err(Refusal::Alone.into()), "it may, and cannot");
    node.stop().await.expect("it stops cleanly");
}
