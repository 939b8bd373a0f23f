//! What users write as the values of options, and what is said when it is wrong.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use antiphon::{
    limits::{NAME_BYTES_MAX, REPLICAS_MAX, VISIBILITY_MAX, VISIBILITY_MIN},
    model::{
        GivenIdError, Network, SubscriberName, TopicName, TopicNameError, TopicPattern,
        TopicPatternError, is_own_header,
    },
};
use antiphon_node::{Multiaddr, NodeConfig};
use bytes::Bytes;

use crate::{
    exit::Failure,
    hints, shown,
    words::{grouped, size},
};

/// A duration: `10s`, `5m`, `1h 30m`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, Failure> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err(no_duration("the duration is zero".to_owned())),
        duration => Ok(duration),
    }
}

/// A duration, which may be none.
pub(crate) fn duration_or_zero(text: &str) -> Result<Duration, Failure> {
    read_duration(text).map_err(no_duration)
}

fn no_duration(message: String) -> Failure {
    Failure::usage(message).with_hint("a duration is written `500ms`, `10s`, `5m` or `7d`")
}

/// A duration, or what is wrong with it.
pub(crate) fn read_duration(text: &str) -> Result<Duration, String> {
    use humantime::DurationError::{NumberOverflow, UnknownUnit};
    humantime::parse_duration(text).map_err(|error| match error {
        UnknownUnit { unit, .. } if unit.is_empty() => {
            let number = text.trim();
            format!("`{text}` has no unit: `{number}s`, `{number}m`, `{number}h` or `{number}d`")
        }
        UnknownUnit { unit, .. } => {
            format!("`{text}` is not a duration: `{unit}` is not a unit of time")
        }
        NumberOverflow => format!("`{text}` is too long"),
        _ => format!("`{text}` is not a duration"),
    })
}

/// A number of bytes, or what is wrong with it.
fn read_size(text: &str) -> Result<u64, String> {
    let size = text.parse::<bytesize::ByteSize>().map(|size| size.as_u64());
    match size {
        Ok(size) if size < SIZE_MAX => Ok(size),
        Ok(_) => Err(format!("`{text}` is more than any disk holds")),
        Err(_) => Err(format!("`{text}` is not a size")),
    }
}

/// An exabyte, for a size that is no slip of the finger.
const SIZE_MAX: u64 = 1_000_000_000_000_000_000;

/// Whole numbers of a range.
pub(crate) fn number<T>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, Failure> + Clone
where
    T: TryFrom<u64>,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| {
            let least = grouped(*range.start());
            let wanted = match *range.end() {
                u64::MAX => format!("a number of {least} or more"),
                most => format!("a number from {least} to {}", grouped(most)),
            };
            Failure::usage(format!("`{text}` is not {wanted}"))
        })
    }
}

/// Time for a member of a group to be done with a record.
pub(crate) fn visibility(text: &str) -> Result<Duration, Failure> {
    let duration = duration(text)?;
    if (VISIBILITY_MIN..=VISIBILITY_MAX).contains(&duration) {
        return Ok(duration);
    }
    let message = format!("`{text}` is not from 100ms to 12h");
    Err(Failure::usage(message).with_hint("for example `--visibility 5m`"))
}

/// The size of a record's payload: `128`, `1KiB`, `1MB`.
pub(crate) fn payload_bytes(text: &str) -> Result<u32, Failure> {
    let hint = "a size is written `128` or `64KiB`; a record has at most 1 MiB";
    match read_size(text).map(u32::try_from) {
        Ok(Ok(size)) if (PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&size) => Ok(size),
        Ok(_) => {
            let (least, most) = (PAYLOAD_BYTES_MIN, grouped(PAYLOAD_BYTES_MAX.into()));
            let message = format!("a payload has {least} to {most} bytes");
            Err(Failure::usage(message).with_hint(hint))
        }
        Err(error) => Err(Failure::usage(error).with_hint(hint)),
    }
}

/// A measured record carries the time at which it was due.
const PAYLOAD_BYTES_MIN: u32 = 8;

/// With room for what else belongs to a record.
const PAYLOAD_BYTES_MAX: u32 = 1024 * 1024 - 1024;

/// A limit of retention, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<NonZeroU64>);

/// What takes a limit away.
const NO_LIMIT: &str = "none";

fn limit(
    text: &str,
    hint: &str,
    parse: impl FnOnce(&str) -> Result<u64, String>,
) -> Result<Limit, Failure> {
    if text == NO_LIMIT {
        return Ok(Limit(None));
    }
    match parse(text).map(NonZeroU64::new) {
        Ok(None) => Err(Failure::usage("the limit is zero").with_hint(hint)),
        Ok(limit) => Ok(Limit(limit)),
        Err(error) => Err(Failure::usage(error).with_hint(hint)),
    }
}

/// An age in milliseconds: `7d`, `none`.
pub(crate) fn retain_age(text: &str) -> Result<Limit, Failure> {
    limit(text, "an age is written `12h` or `7d`; `none` removes the limit", |text| {
        read_milliseconds(text)
    })
}

fn read_milliseconds(text: &str) -> Result<u64, String> {
    let duration = read_duration(text)?;
    u64::try_from(duration.as_millis()).map_err(|_error| format!("`{text}` is too long"))
}

/// How long tombstones are kept, in milliseconds: `7d`.
pub(crate) fn keep_tombstones(text: &str) -> Result<u64, Failure> {
    let hint = "a time is written `12h` or `7d`";
    match read_milliseconds(text) {
        Ok(0) => {
            Err(Failure::usage("the time is zero, and nobody would see a tombstone")
                .with_hint(hint))
        }
        Ok(milliseconds) => Ok(milliseconds),
        Err(error) => Err(Failure::usage(error).with_hint(hint)),
    }
}

/// A number of bytes: `50MB`, `none`.
pub(crate) fn retain_bytes(text: &str) -> Result<Limit, Failure> {
    limit(text, "a size is written `50MB` or `1GiB`; `none` removes the limit", |text| {
        match read_size(text)? {
            little if (1..RETAIN_BYTES_MIN).contains(&little) => {
                let least = size(RETAIN_BYTES_MIN);
                Err(format!("`{text}` is too small: a topic keeps at least {least}"))
            }
            size => Ok(size),
        }
    })
}

/// Least bytes that a topic is told to keep: about the largest record, so that `1` for `1GB` is
/// found out before it deletes all.
const RETAIN_BYTES_MIN: u64 = 1_000_000;

/// The quota of a node: `10GB`.
pub(crate) fn max_disk(text: &str) -> Result<u64, Failure> {
    let least = NodeConfig::DISK_BYTES_MIN;
    let hint = "a size is written `10GB`, and is at least `128MiB`";
    match read_size(text) {
        Ok(size) if size >= least => Ok(size),
        Ok(_) => Err(Failure::usage(format!("`{text}` is too small for a node")).with_hint(hint)),
        Err(error) => Err(Failure::usage(error).with_hint(hint)),
    }
}

/// A number of records: `10000`, `none`.
pub(crate) fn retain_records(text: &str) -> Result<Limit, Failure> {
    limit(text, "a number is written `10000`; `none` removes the limit", |text| {
        text.parse().map_err(|_error| format!("`{text}` is not a number"))
    })
}

/// Addresses of nodes, each with its peer id, separated by commas or white space as in
/// `ANTIPHON_NODE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeAddresses(pub(crate) Vec<Multiaddr>);

impl FromStr for NodeAddresses {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        let addresses = parts.filter(|part| !part.is_empty()).map(node_address);
        addresses.collect::<Result<Vec<_>, _>>().map(Self)
    }
}

/// The address of a node, with its peer id at the end.
pub(crate) fn node_address(text: &str) -> Result<Multiaddr, Failure> {
    match text.parse::<Multiaddr>() {
        Ok(address) if address.iter().last().is_some_and(|part| part.tag() == "p2p") => Ok(address),
        Ok(address) if !address.is_empty() => {
            let message = format!("`{text}` lacks the peer id (`/p2p/…`) at its end");
            Err(Failure::usage(message).with_hint(hints::address()))
        }
        _ => Err(no_address(text, "/p2p/PEER", hints::NODE_PRINTS)),
    }
}

/// The address of a node to join through, with or without its peer id: a multiaddr, or
/// `HOST:PORT`.
pub(crate) fn bootstrap_address(text: &str) -> Result<Multiaddr, Failure> {
    let written = as_multiaddr(text).unwrap_or_else(|| text.to_owned());
    let address = match written.parse::<Multiaddr>() {
        Ok(address) if !address.is_empty() => address,
        _ => return Err(no_address(text, "", &hints::address())),
    };
    let has = |tag| address.iter().any(|part| part.tag() == tag);
    if has("udp") {
        let hint = format!("write `{}`", text.replace("/udp/", "/tcp/").replace("/quic-v1", ""));
        return Err(Failure::usage("nodes do not listen to QUIC").with_hint(hint));
    }
    if !has("tcp") {
        let message = format!("`{text}` has no host and port");
        return Err(Failure::usage(message).with_hint(hints::address()));
    }
    Ok(address)
}

/// An address to listen at.
pub(crate) fn listen_address(text: &str) -> Result<Multiaddr, Failure> {
    let hint = "an address to listen at looks like `/ip4/0.0.0.0/tcp/4001`";
    match text.parse::<Multiaddr>() {
        Ok(address) if !address.is_empty() => Ok(address),
        _ => Err(no_address(text, "", hint)),
    }
}

/// What is said of a text that is no address: how it would be written, if that can be guessed.
fn no_address(text: &str, end: &str, hint: &str) -> Failure {
    let failure = Failure::usage(format!("`{text}` is not an address"));
    match as_multiaddr(text) {
        Some(address) if end.is_empty() => {
            failure.with_hint(format!("it is written `{address}{end}`"))
        }
        Some(address) => failure.with_hint(format!("it is written `{address}{end}`; {hint}")),
        None if end.is_empty() => failure.with_hint(hint),
        None => failure.with_hint(hints::address()),
    }
}

/// `HOST:PORT` as a multiaddr.
fn as_multiaddr(text: &str) -> Option<String> {
    let ip = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => format!("/ip4/{ip}"),
        IpAddr::V6(ip) => format!("/ip6/{ip}"),
    };
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(format!("{}/tcp/{}", ip(address.ip()), address.port()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let is_name = !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    is_name.then(|| format!("/dns/{host}/tcp/{port}"))
}

/// The name of a network.
pub(crate) fn network(text: &str) -> Result<Network, Failure> {
    text.parse().map_err(|error: antiphon::model::NetworkNameError| {
        Failure::usage(error.to_string()).with_hint("a network's name is written `lab-2`")
    })
}

fn name_hint() -> String {
    format!("a name has 1 to {NAME_BYTES_MAX} bytes in any script, without control characters")
}

/// The name of a topic.
pub(crate) fn topic(text: &str) -> Result<TopicName, Failure> {
    text.parse().map_err(|error| {
        let hint = match error {
            TopicNameError::Wildcard => {
                "this command needs the name of one topic; `antiphon topics PATTERN` lists topics \
                    that match, `antiphon subscribe PATTERN` reads them"
                    .into()
            }
            _ => name_hint(),
        };
        Failure::usage(error.to_string()).with_hint(hint)
    })
}

/// The name of a topic that does not exist yet. A name that patterns or a shell would misread is
/// refused.
pub(crate) fn new_topic(text: &str) -> Result<TopicName, Failure> {
    let name = topic(text)?;
    let usage = |message: String, hint| Err(Failure::usage(message).with_hint(hint));
    if text.split('.').any(str::is_empty) {
        let hint = "dots divide a name into parts, as in `sensors.north.temp`";
        return usage(format!("`{text}` has an empty part"), hint);
    }
    if shown::text(text) != text {
        let hint = "a name has letters, digits and visible signs only";
        return usage(format!("`{}` has invisible characters", shown::text(text)), hint);
    }
    if text.trim() != text || text.starts_with('-') {
        let hint = "a name begins and ends with a visible sign, and does not begin with a hyphen";
        return usage(
            format!("`{text}` begins or ends with a space, or begins with a hyphen"),
            hint,
        );
    }
    Ok(name)
}

/// The name of a topic, or a pattern of names.
pub(crate) fn pattern(text: &str) -> Result<TopicPattern, Failure> {
    text.parse().map_err(|error| {
        let hint = match error {
            TopicPatternError::Name(_) => name_hint(),
            TopicPatternError::AfterRest => {
                "a pattern is written `sensors.*.temp`, where `*` is one part, or `sensors.>`, \
                    where `>` is one or more parts"
                    .into()
            }
        };
        Failure::usage(error.to_string()).with_hint(hint)
    })
}

/// The name of a subscription.
pub(crate) fn subscriber(text: &str) -> Result<SubscriberName, Failure> {
    text.parse()
        .map_err(|error: TopicNameError| Failure::usage(error.to_string()).with_hint(name_hint()))
}

/// A number of replicas.
pub(crate) fn replicas(text: &str) -> Result<u16, Failure> {
    let replicas = number(1..=u64::from(REPLICAS_MAX))(text);
    replicas.map_err(|error| error.with_hint("`--replicas 3` keeps each record on three nodes"))
}

/// Copies below which nothing is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floor {
    /// As many as fit the number of nodes.
    Auto,
    /// This number.
    Copies(u16),
}

/// A floor of copies: a number, or `auto`.
pub(crate) fn floor(text: &str) -> Result<Floor, Failure> {
    if text == "auto" {
        return Ok(Floor::Auto);
    }
    let copies = number(1..=u64::from(REPLICAS_MAX))(text).map_err(|error| {
        error.with_hint(
            "`--min-copies 2` acknowledges a record when two nodes have flushed it; `auto` does so \
             in a network of three or more nodes",
        )
    });
    copies.map(Floor::Copies)
}

/// A header: `NAME=VALUE`. The value is all that follows the first `=`, and may be empty.
pub(crate) fn header(text: &str) -> Result<(String, Bytes), Failure> {
    let hint = "a header is written `--header source=usgs`";
    match text.split_once('=') {
        Some((name, _)) if name.is_empty() || name.len() > NAME_BYTES_MAX => {
            let message = format!("a header name has 1 to {NAME_BYTES_MAX} bytes");
            Err(Failure::usage(message).with_hint(hint))
        }
        Some((name, _)) if is_own_header(name) => {
            let message = format!("the header `{name}` is Antiphon's own");
            Err(Failure::usage(message).with_hint(hints::OWN_HEADER))
        }
        Some((name, value)) => Ok((name.to_owned(), Bytes::copy_from_slice(value.as_bytes()))),
        None => Err(Failure::usage(format!("`{text}` has no `=`")).with_hint(hint)),
    }
}

/// An id that is given to a record.
pub(crate) fn record_id(text: &str) -> Result<String, Failure> {
    if (1..=NAME_BYTES_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    let error = GivenIdError { size: text.len() };
    Err(Failure::usage(error.to_string()).with_hint(hints::RECORD_ID))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWGzBf8EADkjJLTp4QvEUqYYGKbYSbJzmSHVS4Fw5bx3pN";

    #[test]
    fn durations() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(7 * 24)));
        for wrong in ["", "10", "0s", "-1s", "soon"] {
            assert!(duration(wrong).unwrap_err().hint().unwrap().contains("`10s`"), "{wrong}");
        }
    }

    #[test]
    fn node_addresses_need_a_peer_id() {
        let peer = antiphon::model::NodeKey::from_secret(&[1; 32]).node();
        let address = format!("/ip4/127.0.0.1/tcp/4001/p2p/{peer}");
        let several: NodeAddresses = format!("{address},{address}  {address}").parse().unwrap();
        assert_eq!(several.0, vec![address.parse().unwrap(); 3]);
        assert_eq!("".parse(), Ok(NodeAddresses(Vec::new())));
        let without = node_address("/ip4/127.0.0.1/tcp/4001").unwrap_err();
        assert!(without.to_string().contains("lacks the peer id"), "{without}");
        assert!(without.hint().unwrap().contains("/p2p/"));
        let hint = |text| node_address(text).unwrap_err().hint().unwrap().to_owned();
        assert!(hint("10.0.0.3:4001").contains("`/ip4/10.0.0.3/tcp/4001/p2p/PEER`"));
        assert!(hint("[::1]:4001").contains("`/ip6/::1/tcp/4001/p2p/PEER`"));
        assert!(hint("localhost:4001").contains("`/dns/localhost/tcp/4001/p2p/PEER`"));
        assert!(node_address(PEER).is_err());
        assert!(listen_address("").is_err());
    }

    #[test]
    fn a_node_to_join_through_needs_no_peer_id() {
        let address = |text: &str| bootstrap_address(text).unwrap().to_string();
        assert_eq!(address("192.168.1.10:4001"), "/ip4/192.168.1.10/tcp/4001");
        assert_eq!(address("[fd09::1]:4001"), "/ip6/fd09::1/tcp/4001");
        assert_eq!(address("first.example.org:4001"), "/dns/first.example.org/tcp/4001");
        assert_eq!(address("/ip4/127.0.0.1/tcp/4001"), "/ip4/127.0.0.1/tcp/4001");
        for wrong in ["localhost", ":4001", "host:99999", "a b:1", "fd09::1:x", "/ip4/127.0.0.1"] {
            assert!(bootstrap_address(wrong).is_err(), "{wrong}");
        }
        let quic = bootstrap_address("/ip4/127.0.0.1/udp/4001/quic-v1").unwrap_err();
        assert_eq!(quic.hint(), Some("write `/ip4/127.0.0.1/tcp/4001`"));
    }

    #[test]
    fn patterns() {
        for name in ["a.*", "*", "a.>"] {
            let failure = topic(name).unwrap_err();
            assert!(failure.hint().unwrap().contains("antiphon topics PATTERN"), "{failure}");
            assert!(pattern(name).is_ok_and(|pattern| !pattern.is_literal()));
        }
        assert!(pattern("quakes").is_ok_and(|pattern| pattern.is_literal()));
        let failure = pattern("a.>.b").unwrap_err();
        assert!(failure.to_string().contains("nothing follows"), "{failure}");
        assert!(failure.hint().unwrap().contains("sensors.>"));
        assert!(pattern("").unwrap_err().hint().unwrap().contains("255"));
    }

    #[test]
    fn names() {
        assert!(topic("地震 / 🌍").is_ok());
        assert!(topic("").unwrap_err().to_string().contains("empty"));
        assert!(topic(&"x".repeat(256)).unwrap_err().to_string().contains("256 bytes"));
        assert!(topic("a\nb").unwrap_err().to_string().contains("control"));
        assert!(subscriber("").is_err() && subscriber("alice").is_ok());
        assert!(network("../x").is_err() && network("lab-2").is_ok());
    }

    #[test]
    fn replicas_are_bounded() {
        assert_eq!((replicas("1"), replicas("32")), (Ok(1), Ok(32)));
        for wrong in ["0", "33", "-1", "many", "70000"] {
            assert!(replicas(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quotas() {
        assert_eq!(max_disk("10GB"), Ok(10_000_000_000));
        for wrong in ["1MB", "much"] {
            assert!(max_disk(wrong).unwrap_err().hint().unwrap().contains("128MiB"), "{wrong}");
        }
    }

    #[test]
    fn limits_of_retention() {
        assert_eq!(retain_age("7d"), Ok(Limit(NonZeroU64::new(7 * 24 * 3_600_000))));
        assert_eq!(retain_bytes("50MB"), Ok(Limit(NonZeroU64::new(50_000_000))));
        assert_eq!(retain_records("10"), Ok(Limit(NonZeroU64::new(10))));
        assert_eq!(retain_records("none"), Ok(Limit(None)));
        let wrong = [
            retain_age("0s"),
            retain_age("soon"),
            retain_bytes("0"),
            retain_bytes("x"),
            retain_bytes("1"),
            retain_bytes("99999999999999GB"),
            retain_records("0"),
            retain_records("-1"),
        ];
        for outcome in wrong {
            assert!(outcome.clone().unwrap_err().hint().unwrap().contains("none"), "{outcome:?}");
        }
    }

    #[test]
    fn headers() {
        assert_eq!(header("a=b=c"), Ok(("a".into(), Bytes::from("b=c"))));
        assert_eq!(header("a="), Ok(("a".into(), Bytes::new())));
        assert!(header("=b").is_err() && header("ab").is_err());
    }
}
