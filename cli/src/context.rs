//! What every command has at hand: the global options, the printer and the connection.

use std::{pin::pin, time::Duration};

use antiphon::model::Network;
use antiphon_node::{Client, ClientConfig, client::ConnectionState, membership::Membership};

use crate::{arguments::GlobalOptions, clock, identity, printer::Printer, watch::Watch};

/// How long a command looks for a node before it says so.
const SAID_AFTER: Duration = Duration::from_millis(500);

/// The surroundings of a command.
#[derive(Debug)]
pub(crate) struct Context {
    /// The options that all commands share.
    pub(crate) options: GlobalOptions,
    /// Where output goes.
    pub(crate) printer: Printer,
    client: Option<Client>,
    /// Who this user is in a closed network, if `--identity` says so and it was read.
    member: Option<Membership>,
    /// Says it when there is no node; none while no command runs.
    watch: Option<Watch>,
}

impl Context {
    /// No connection is made yet.
    pub(crate) fn new(options: GlobalOptions) -> Self {
        let printer = Printer::standard(options.manner());
        Self { options, printer, client: None, member: None, watch: None }
    }

    /// The connection to a node, made when it is first asked for.
    pub(crate) async fn client(&mut self) -> anyhow::Result<Client> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.connect().await?,
        };
        let printer = &self.printer;
        let watch = || Watch::start(client.connection(), printer.notices());
        self.watch.get_or_insert_with(watch);
        self.client = Some(client.clone());
        Ok(client)
    }

    /// The network that commands are about: that of the identity, or else the one that is named.
    pub(crate) fn network(&mut self) -> anyhow::Result<Network> {
        if let (None, Some(directory)) = (&self.member, &self.options.identity) {
            let member = identity::load(directory, &self.options.network)?;
            self.options.network = member.network().clone();
            self.member = Some(member);
        }
        Ok(self.options.network.clone())
    }

    /// How to connect: to these nodes, or else to those that the options or the identity name.
    pub(crate) fn config(&mut self) -> anyhow::Result<ClientConfig> {
        let config = ClientConfig::new().network(self.network()?).nodes(self.options.nodes());
        let config = config.timeout(self.options.timeout);
        let Some(member) = self.member.clone() else { return Ok(config) };
        let contacts = member.contacts();
        let config = config.membership(member);
        Ok(if config.nodes.is_empty() { config.nodes(contacts) } else { config })
    }

    async fn connect(&mut self) -> anyhow::Result<Client> {
        let config = self.config()?;
        let Self { options, printer, .. } = self;
        let looking = looking(options, &config);
        let mut connecting = pin!(Client::connect(config));
        let said_at = clock::instant().checked_add(SAID_AFTER);
        let client = tokio::select! {
            biased;
            client = &mut connecting => client?,
            () = clock::sleep_until(said_at), if options.timeout > SAID_AFTER => {
                printer.note(looking);
                let client = connecting.await?;
                if let ConnectionState::Connected(node) = client.connection().state() {
                    printer.note(format_args!("connected, to {node}"));
                }
                client
            }
        };
        if let Some(directory) = &options.identity {
            identity::warn(directory, printer);
        }
        Ok(client)
    }

    /// A command has ended, and the next one may come: what becomes of the connection meanwhile is
    /// not said.
    pub(crate) fn rest(&mut self) {
        self.watch = None;
    }

    /// Gives up the connection; the next command makes a new one.
    pub(crate) fn disconnect(&mut self) {
        self.client = None;
        self.member = None;
        self.watch = None;
    }
}

/// Where a command looks for a node.
fn looking(options: &GlobalOptions, config: &ClientConfig) -> String {
    let network = &options.network;
    let nodes = &config.nodes;
    if nodes.is_empty() {
        return format!("looking for a node on this machine and the LAN (network `{network}`) …");
    }
    let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
    format!("looking for a node at {} (network `{network}`) …", nodes.join(", "))
}
