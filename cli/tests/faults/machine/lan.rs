//! Hosts of their own: a network namespace for each node, joined by a switch at which this suite
//! sits too, so that its clients reach every node whatever is cut between those.

use crate::fleet::tool;

/// What names of interfaces and namespaces start with; the process number follows.
const PREFIX: &str = "af";

/// A hardware address that nobody has. What is sent there is lost without a word, as in a real
/// network that is cut; a blackhole route would tell the sender.
const NOBODY: &str = "02:00:00:00:00:01";

/// The hosts. They are removed when this is dropped.
pub(crate) struct Lan {
    id: u32,
    hosts: usize,
}

impl Lan {
    /// Lays the network, or says why this machine cannot.
    pub(crate) fn lay(hosts: usize) -> Result<Self, String> {
        let lan = Self { id: std::process::id() % 1_000_000, hosts };
        let switch = lan.switch();
        ip(&["link", "add", &switch, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", lan.address_of(254)), "dev", &switch])?;
        ip(&["link", "set", &switch, "up"])?;
        for number in 0..hosts {
            let (host, cable) = (lan.host(number), lan.cable(number));
            ip(&["netns", "add", &host])?;
            let ends = ["type", "veth", "peer", "name", "eth0", "netns", &host];
            ip(&[&["link", "add", &cable][..], &ends].concat())?;
            ip(&["link", "set", &cable, "master", &switch, "up"])?;
            let address = format!("{}/24", lan.address(number));
            ip(&["-n", &host, "address", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &host, "link", "set", "lo", "up"])?;
            ip(&["-n", &host, "link", "set", "eth0", "up"])?;
        }
        Ok(lan)
    }

    fn switch(&self) -> String {
        format!("{PREFIX}{}s", self.id)
    }

    pub(crate) fn host(&self, number: usize) -> String {
        format!("{PREFIX}{}n{number}", self.id)
    }

    fn cable(&self, number: usize) -> String {
        format!("{PREFIX}{}c{number}", self.id)
    }

    pub(crate) fn address(&self, number: usize) -> String {
        self.address_of(number + 1)
    }

    fn address_of(&self, last: usize) -> String {
        format!("10.213.{}.{last}", self.id % 250)
    }

    /// Loses what `from` sends to `to`. The other way goes on.
    pub(crate) fn cut(&self, from: usize, to: usize) {
        let (host, address) = (self.host(from), self.address(to));
        let words = ["-n", &host, "neighbour", "replace", &address, "lladdr", NOBODY];
        ip(&[&words[..], &["nud", "permanent", "dev", "eth0"]].concat()).expect("it is a host");
    }

    /// Loses what the two groups send to each other.
    pub(crate) fn cut_apart(&self, one: &[usize], other: &[usize]) {
        for (from, to) in one.iter().flat_map(|from| other.iter().map(move |to| (*from, *to))) {
            self.cut(from, to);
            self.cut(to, from);
        }
    }

    /// Joins all again.
    pub(crate) fn heal(&self) {
        for from in 0..self.hosts {
            let host = self.host(from);
            ip(&["-n", &host, "neighbour", "flush", "dev", "eth0", "nud", "permanent"])
                .expect("it is a host");
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for number in 0..self.hosts {
            // What was not made cannot be removed. The cable would go with the host, but later.
            let _ = ip(&["link", "delete", &self.cable(number)]);
            let _ = ip(&["netns", "delete", &self.host(number)]);
        }
        let _ = ip(&["link", "delete", &self.switch()]);
    }
}

/// Removes what suites left that are `gone`.
pub(crate) fn sweep(gone: impl Fn(&str) -> bool) {
    let digits = |name: &str| {
        let rest = name.strip_prefix(PREFIX)?.trim_end_matches(|byte: char| byte.is_ascii_digit());
        let (id, kind) = rest.split_at_checked(rest.len().checked_sub(1)?)?;
        ("ns".contains(kind) && id.bytes().all(|byte| byte.is_ascii_digit())).then(|| id.to_owned())
    };
    for name in ip(&["netns", "list"]).unwrap_or_default().lines() {
        let name = name.split(' ').next().unwrap_or_default();
        if digits(name).is_some_and(|id| gone(&id)) {
            let _ = ip(&["netns", "delete", name]);
        }
    }
    for line in ip(&["-o", "link", "show", "type", "bridge"]).unwrap_or_default().lines() {
        let name = line.split(": ").nth(1).unwrap_or_default();
        if digits(name).is_some_and(|id| gone(&id)) {
            let _ = ip(&["link", "delete", name]);
        }
    }
}

fn ip(words: &[&str]) -> Result<String, String> {
    tool("ip", words)
}
