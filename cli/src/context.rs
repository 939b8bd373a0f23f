//! What every command has at hand: the global options, the printer and the connection.

use antiphon_node::{Client, ClientConfig};

use crate::{arguments::GlobalOptions, printer::Printer};

/// The surroundings of a command.
#[derive(Debug)]
pub(crate) struct Context {
    /// The options that all commands share.
    pub(crate) options: GlobalOptions,
    /// Where output goes.
    pub(crate) printer: Printer,
    client: Option<Client>,
}

impl Context {
    /// No connection is made yet.
    pub(crate) fn new(options: GlobalOptions) -> Self {
        let printer = Printer::standard(&options);
        Self { options, printer, client: None }
    }

    /// The connection to a node, made when it is first asked for.
    pub(crate) async fn client(&mut self) -> anyhow::Result<Client> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = Client::connect(ClientConfig {
            network: self.options.network.clone(),
            nodes: self.options.nodes(),
            timeout: Some(self.options.timeout),
        })
        .await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Gives up the connection; the next command makes a new one.
    pub(crate) fn disconnect(&mut self) {
        self.client = None;
    }
}
