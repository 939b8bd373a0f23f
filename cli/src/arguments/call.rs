//! What a command line may call, and the command that it means.
//!
//! Each command has its place below a noun, as in `topic create`. Those that are used most have a
//! short form, such as `create`. Earlier spellings, such as `alter`, still work and are not listed.

use clap::{Args, Subcommand};

use super::{
    archives::{Export, Import},
    bench::Bench,
    membership::{Admit, GrantRights, Join, Members, NetworkLog, OwnId, Revoke},
    network::{FoundNetwork, Invite},
    node::{Forget, Leave, Node, Peers},
    outbox::Outbox,
    publish::Publish,
    reading::{Fetch, Subscribe},
    subscription::{NamedSubscription, ResetSubscription, Subscriptions},
    tools::{Completions, Demo, Man, Shell},
    topic::{Alter, Create, Delete, Info, Topics, Verify},
};

/// What a command line may call.
#[derive(Debug, Subcommand)]
pub(super) enum Call {
    Publish(Publish),
    Fetch(Fetch),
    Subscribe(Subscribe),
    Outbox(Outbox),
    Create(Create),
    Topics(Topics),
    Info(Info),
    /// Create, alter, verify, export, import and delete topics
    #[command(subcommand, disable_help_subcommand = true)]
    Topic(TopicCall),
    /// List, move and delete named subscriptions
    #[command(subcommand, disable_help_subcommand = true)]
    Subscription(SubscriptionCall),
    Node(NodeCall),
    Peers(Peers),
    /// Found a closed network; invite, admit, list and remove members
    #[command(subcommand, disable_help_subcommand = true)]
    Network(NetworkCall),
    Join(Join),
    Shell(Shell),
    Demo(Demo),
    Bench(Bench),
    Completions(Completions),
    Man(Man),
    #[command(hide = true)]
    Alter(Alter),
    #[command(hide = true)]
    Delete(Delete),
    #[command(hide = true)]
    Verify(Verify),
    #[command(hide = true)]
    Export(Export),
    #[command(hide = true)]
    Import(Import),
    #[command(hide = true)]
    Subscriptions(Subscriptions),
    #[command(hide = true)]
    Leave(Leave),
    #[command(hide = true)]
    Forget(Forget),
}

/// What may follow `topic`.
#[derive(Debug, Subcommand)]
pub(super) enum TopicCall {
    Create(Create),
    Alter(Alter),
    Delete(Delete),
    Info(Info),
    List(Topics),
    Verify(Verify),
    Export(Export),
    Import(Import),
}

/// What may follow `subscription`.
#[derive(Debug, Subcommand)]
pub(super) enum SubscriptionCall {
    List(Subscriptions),
    Reset(ResetSubscription),
    /// Delete a subscription and its position
    #[command(after_help = "\
Examples:
  antiphon subscription delete quakes alice")]
    Delete(NamedSubscription),
}

/// What may follow `network`.
#[derive(Debug, Subcommand)]
pub(super) enum NetworkCall {
    Create(FoundNetwork),
    Invite(Invite),
    Join(Join),
    Id(OwnId),
    Admit(Admit),
    Grant(GrantRights),
    Members(Members),
    Revoke(Revoke),
    Log(NetworkLog),
}

/// Run a node; list nodes, end one, declare one lost
///
/// Without a command it runs a node: it prints one line per address and then `ready`. Ctrl-C stops
/// it cleanly.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(super) struct NodeCall {
    #[command(flatten)]
    run: Node,

    #[command(subcommand)]
    verb: Option<NodeVerb>,
}

/// What may follow `node`.
#[derive(Debug, Subcommand)]
enum NodeVerb {
    Run(Node),
    List(Peers),
    Leave(Leave),
    Forget(Forget),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Node(Node),
    Create(Create),
    Alter(Alter),
    Delete(Delete),
    Publish(Publish),
    Fetch(Fetch),
    Subscribe(Subscribe),
    Subscriptions(Subscriptions),
    ResetSubscription(ResetSubscription),
    DeleteSubscription(NamedSubscription),
    Topics(Topics),
    Info(Info),
    Outbox(Outbox),
    Peers,
    Verify(Verify),
    Export(Export),
    Import(Import),
    Leave(Leave),
    Forget(Forget),
    FoundNetwork(FoundNetwork),
    Invite(Invite),
    Join(Join),
    OwnId(OwnId),
    Admit(Admit),
    GrantRights(GrantRights),
    Members,
    Revoke(Revoke),
    NetworkLog,
    Shell,
    Demo(Demo),
    Bench(Bench),
    Completions(Completions),
    Man(Man),
}

impl Call {
    /// The command that is meant, or why none is.
    pub(super) fn into_command(self) -> Result<Command, &'static str> {
        Ok(match self {
            Self::Publish(arguments) => Command::Publish(arguments),
            Self::Fetch(arguments) => Command::Fetch(arguments),
            Self::Subscribe(arguments) => Command::Subscribe(arguments),
            Self::Outbox(arguments) => Command::Outbox(arguments),
            Self::Create(arguments) | Self::Topic(TopicCall::Create(arguments)) => {
                Command::Create(arguments)
            }
            Self::Topics(arguments) | Self::Topic(TopicCall::List(arguments)) => {
                Command::Topics(arguments)
            }
            Self::Info(arguments) | Self::Topic(TopicCall::Info(arguments)) => {
                Command::Info(arguments)
            }
            Self::Alter(arguments) | Self::Topic(TopicCall::Alter(arguments)) => {
                Command::Alter(arguments)
            }
            Self::Delete(arguments) | Self::Topic(TopicCall::Delete(arguments)) => {
                Command::Delete(arguments)
            }
            Self::Verify(arguments) | Self::Topic(TopicCall::Verify(arguments)) => {
                Command::Verify(arguments)
            }
            Self::Export(arguments) | Self::Topic(TopicCall::Export(arguments)) => {
                Command::Export(arguments)
            }
            Self::Import(arguments) | Self::Topic(TopicCall::Import(arguments)) => {
                Command::Import(arguments)
            }
            Self::Subscriptions(arguments)
            | Self::Subscription(SubscriptionCall::List(arguments)) => {
                Command::Subscriptions(arguments)
            }
            Self::Subscription(SubscriptionCall::Reset(arguments)) => {
                Command::ResetSubscription(arguments)
            }
            Self::Subscription(SubscriptionCall::Delete(arguments)) => {
                Command::DeleteSubscription(arguments)
            }
            Self::Node(NodeCall { run, verb: None }) => Command::Node(run),
            Self::Node(NodeCall { run, verb: Some(verb) }) => {
                if run != Node::default() {
                    return Err(
                        "options of `antiphon node` cannot stand before one of its commands",
                    );
                }
                verb.into_command()
            }
            Self::Peers(Peers {}) => Command::Peers,
            Self::Network(NetworkCall::Create(arguments)) => Command::FoundNetwork(arguments),
            Self::Network(NetworkCall::Invite(arguments)) => Command::Invite(arguments),
            Self::Network(NetworkCall::Id(arguments)) => Command::OwnId(arguments),
            Self::Network(NetworkCall::Admit(arguments)) => Command::Admit(arguments),
            Self::Network(NetworkCall::Grant(arguments)) => Command::GrantRights(arguments),
            Self::Network(NetworkCall::Log(NetworkLog {})) => Command::NetworkLog,
            Self::Network(NetworkCall::Members(Members {})) => Command::Members,
            Self::Network(NetworkCall::Revoke(arguments)) => Command::Revoke(arguments),
            Self::Join(arguments) | Self::Network(NetworkCall::Join(arguments)) => {
                Command::Join(arguments)
            }
            Self::Leave(arguments) => Command::Leave(arguments),
            Self::Forget(arguments) => Command::Forget(arguments),
            Self::Shell(Shell {}) => Command::Shell,
            Self::Demo(arguments) => Command::Demo(arguments),
            Self::Bench(arguments) => Command::Bench(arguments),
            Self::Completions(arguments) => Command::Completions(arguments),
            Self::Man(arguments) => Command::Man(arguments),
        })
    }
}

impl NodeVerb {
    fn into_command(self) -> Command {
        match self {
            Self::Run(arguments) => Command::Node(arguments),
            Self::List(Peers {}) => Command::Peers,
            Self::Leave(arguments) => Command::Leave(arguments),
            Self::Forget(arguments) => Command::Forget(arguments),
        }
    }
}
