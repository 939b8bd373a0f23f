//! Where the keys and the data of a closed network are.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use antiphon::model::{
    Network, NodeId, NodeKey,
    roster::{KeptError, Ticket},
};
use antiphon_node::{
    create_network_key,
    membership::{Membership, MembershipError},
};

use super::super::node::default_data;
use crate::{arguments::label, exit::Failure};

/// The files of a network's keys.
pub(super) struct Keys {
    directory: PathBuf,
    pub(super) root: PathBuf,
    pub(super) admin: PathBuf,
    /// Directory of the tickets for the nodes of a network that was open.
    tickets: PathBuf,
}

impl Keys {
    /// The keys of a network in a directory, or in the user's own one.
    pub(super) fn of(directory: Option<&Path>, network: &Network) -> anyhow::Result<Self> {
        let directory = if let Some(directory) = directory {
            std::path::absolute(directory)?
        } else {
            let base = dirs::config_dir().ok_or_else(|| {
                Failure::usage("this user has no directory for settings")
                    .with_hint("name one with `--keys DIR`")
            })?;
            base.join("antiphon")
        };
        let file = |ending| directory.join(format!("{network}.{ending}"));
        let (root, admin, tickets) = (file("root"), file("admin"), file("tickets"));
        Ok(Self { directory, root, admin, tickets })
    }

    /// Checks that there are no keys of a network of this name.
    pub(super) fn check_new(&self) -> anyhow::Result<()> {
        match [&self.root, &self.admin, &self.tickets].into_iter().find(|path| path.exists()) {
            Some(path) => {
                let message = format!("{} is there already", path.display());
                Err(Failure::failed(message).with_hint(self.how_to_go_on()).into())
            }
            None => Ok(()),
        }
    }

    fn how_to_go_on(&self) -> String {
        format!(
            "keys of a network of this name are here; `--keys DIR` keeps those of another one \
             elsewhere. If an earlier `create` was cut short, move {}, {} and {} away",
            self.root.display(),
            self.admin.display(),
            self.tickets.display()
        )
    }

    /// Makes both keys, which go again unless they are [kept](NewKeys::keep).
    pub(super) fn create(&self) -> anyhow::Result<NewKeys> {
        self.make_directory()?;
        let made = |path: &Path| {
            create_network_key(path)
                .map_err(|error| Failure::failed(error.to_string()).with_hint(self.how_to_go_on()))
        };
        let mut files = Unfinished(Vec::new());
        let root = made(&self.root)?;
        files.0.push(self.root.clone());
        let admin = made(&self.admin)?;
        files.0.push(self.admin.clone());
        Ok(NewKeys { root, admin, files })
    }

    /// Makes the directory, which its owner alone can read.
    fn make_directory(&self) -> anyhow::Result<()> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(|error| {
            let message =
                format!("the directory {} cannot be made: {error}", self.directory.display());
            Failure::failed(message).with_hint("name another one with `--keys DIR`").into()
        })
    }
}

/// The keys of a network that is being founded. Without the network they are of no use.
pub(super) struct NewKeys {
    pub(super) root: NodeKey,
    pub(super) admin: NodeKey,
    files: Unfinished,
}

impl NewKeys {
    /// Writes the tickets, each in a file with the peer id as its name, which its owner alone can
    /// read.
    pub(super) fn write_tickets(
        &mut self,
        keys: &Keys,
        tickets: &BTreeMap<NodeId, Ticket>,
    ) -> anyhow::Result<BTreeMap<NodeId, PathBuf>> {
        let failed = |path: &Path, error: io::Error| {
            let message = format!("{} cannot be made: {error}", path.display());
            Failure::failed(message).with_hint("name another directory with `--keys DIR`")
        };
        let directory = &keys.tickets;
        let made = std::fs::DirBuilder::new().mode(0o700).create(directory);
        made.map_err(|error| failed(directory, error))?;
        self.files.0.push(directory.clone());
        let mut files = BTreeMap::new();
        for (node, ticket) in tickets {
            let path = directory.join(format!("{node}.ticket"));
            let mut options = std::fs::File::options();
            let file = options.create_new(true).write(true).mode(0o600).open(&path);
            let mut file = file.map_err(|error| failed(&path, error))?;
            self.files.0.push(path.clone());
            let written = writeln!(file, "{ticket}").and_then(|()| file.sync_all());
            written.map_err(|error| failed(&path, error))?;
            files.insert(*node, path);
        }
        Ok(files)
    }

    /// The network is founded.
    pub(super) fn keep(mut self) {
        self.files.0.clear();
    }
}

/// Files and directories that go again, those that were made last first.
struct Unfinished(Vec<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // The error that led here is told.
            let _ =
                if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
        }
    }
}

/// Where a client's identity is, if its user names no directory.
pub(super) fn default_identity(network: &Network) -> anyhow::Result<PathBuf> {
    let base = dirs::config_dir().ok_or_else(|| {
        Failure::usage("this user has no directory for settings")
            .with_hint("name one with `--identity DIR`")
    })?;
    Ok(base.join("antiphon").join(format!("{network}.client")))
}

/// The data directory of a network's node.
pub(super) fn data_of(data: Option<&Path>, network: &Network) -> anyhow::Result<PathBuf> {
    data.map_or_else(|| default_data(network), |data| Ok(std::path::absolute(data)?))
}

/// What a data directory belongs to.
///
/// # Errors
/// When it belongs to no closed network, or to another one.
pub(super) fn kept_of(data: &Path, network: &Network) -> anyhow::Result<Membership> {
    let membership = Membership::load(data).map_err(|error| refused(&error))?;
    let name = membership.network();
    if name == network {
        return Ok(membership);
    }
    let message = format!("{} belongs to the network `{name}`", data.display());
    Err(Failure::usage(message).with_hint(HOW_TO_NAME).into())
}

const HOW_TO_NAME: &str = "`--network NAME` names the network, and `--data DIR` its data directory";

/// Why a data directory does not do, and what helps.
pub(super) fn refused(error: &MembershipError) -> Failure {
    let hint = match error {
        MembershipError::Belongs { .. } | MembershipError::Elsewhere(_) => {
            "name another data directory with `--data DIR`"
        }
        MembershipError::Used(_) => {
            "`antiphon network create NAME --from-open` closes an open network, with its records; \
             `--data DIR` names another data directory"
        }
        MembershipError::InUse(_) => "stop the node of this data directory first",
        MembershipError::Open(_) => HOW_TO_NAME,
        MembershipError::Refused(KeptError::OtherKey(_)) => {
            "`antiphon network id` prints the id of this machine's key, by which an admin admits it"
        }
        MembershipError::Refused(_) => "ask an admin for a ticket: `antiphon network invite`",
        _ => "check the data directory and its files",
    };
    Failure::failed(error.to_string()).with_hint(hint)
}

/// An option that names a data directory, as a command line has it.
pub(super) fn named(data: Option<&Path>) -> String {
    data.map(|data| format!(" --data {}", data.display())).unwrap_or_default()
}

/// The name of this machine; `node` if it has none that can be a label.
pub(super) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    label(&name).unwrap_or_else(|_| "node".to_owned())
}

/// An error of the library, as the end of a command.
pub(super) fn failed(error: impl Display) -> Failure {
    Failure::failed(error.to_string())
}
