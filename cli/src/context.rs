//! What every command has at hand: the global options, the printer and the connection.

use std::{pin::pin, time::Duration};

use antiphon_node::{Client, ClientConfig, client::ConnectionState};

use crate::{arguments::GlobalOptions, clock, printer::Printer, watch::Watch};

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
    /// Says it when there is no node; none while no command runs.
    watch: Option<Watch>,
}

impl Context {
    /// No connection is made yet.
    pub(crate) fn new(options: GlobalOptions) -> Self {
        let printer = Printer::standard(options.manner());
        Self { options, printer, client: None, watch: None }
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

    async fn connect(&mut self) -> anyhow::Result<Client> {
        let Self { options, printer, .. } = self;
        let config = ClientConfig::new().network(options.network.clone()).nodes(options.nodes());
        let mut connecting = pin!(Client::connect(config.timeout(options.timeout)));
        let said_at = clock::instant().checked_add(SAID_AFTER);
        tokio::select! {
            biased;
            client = &mut connecting => return Ok(client?),
            () = clock::sleep_until(said_at), if options.timeout > SAID_AFTER => {}
        }
        printer.note(looking(options));
        let client = connecting.await?;
        if let ConnectionState::Connected(node) = client.connection().state() {
            printer.note(format_args!("connected, to {node}"));
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
        self.watch = None;
    }
}

/// Where a command looks for a node.
fn looking(options: &GlobalOptions) -> String {
    let network = &options.network;
    let nodes = options.nodes();
    if nodes.is_empty() {
        return format!("looking for a node on this machine and the LAN (network `{network}`) …");
    }
    let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
    format!("looking for a node at {} (network `{network}`) …", nodes.join(", "))
}
