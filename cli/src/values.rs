//! What users write as the values of options, and what is said when it is wrong.

use std::{str::FromStr, time::Duration};

use antiphon::{
    limits::{NAME_BYTES_MAX, REPLICAS_MAX, VISIBILITY_MAX, VISIBILITY_MIN},
    model::{
        GivenIdError, Network, SubscriberName, TopicName, TopicNameError, TopicPattern,
        TopicPatternError,
    },
};
use antiphon_node::{Multiaddr, NodeConfig};
use bytes::Bytes;

use crate::{exit::Failure, hints};

/// A duration: `10s`, `5m`, `1h 30m`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, Failure> {
    let hint = "a duration reads like `500ms`, `10s`, `5m` or `7d`";
    let duration = humantime::parse_duration(text)
        .map_err(|error| Failure::usage(error.to_string()).with_hint(hint))?;
    if duration.is_zero() {
        return Err(Failure::usage("the duration is zero").with_hint(hint));
    }
    Ok(duration)
}

/// Time for a member of a group to be done with a record.
pub(crate) fn visibility(text: &str) -> Result<Duration, Failure> {
    let duration = duration(text)?;
    if (VISIBILITY_MIN..=VISIBILITY_MAX).contains(&duration) {
        return Ok(duration);
    }
    let message = format!("{text} is not a time from 100ms to 12h");
    Err(Failure::usage(message).with_hint("for example `--visibility 5m`"))
}

/// The size of a record's payload: `128`, `1KiB`, `1MB`.
pub(crate) fn payload_bytes(text: &str) -> Result<u32, Failure> {
    let hint = "a size reads like `128` or `64KiB`; a record has at most 1 MiB";
    let size = text.parse::<bytesize::ByteSize>().map(|size| size.as_u64());
    match size.map(u32::try_from) {
        Ok(Ok(size)) if (PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&size) => Ok(size),
        Ok(_) => {
            let message = format!("a payload has {PAYLOAD_BYTES_MIN} to {PAYLOAD_BYTES_MAX} bytes");
            Err(Failure::usage(message).with_hint(hint))
        }
        Err(error) => Err(Failure::usage(error).with_hint(hint)),
    }
}

/// A measured record carries the time at which it was due.
const PAYLOAD_BYTES_MIN: u32 = 8;

/// With room for what else belongs to a record.
const PAYLOAD_BYTES_MAX: u32 = 1024 * 1024 - 1024;

/// A limit of retention; nothing where there is to be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<u64>);

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
    match parse(text) {
        Ok(0) => Err(Failure::usage("a topic that keeps nothing is of no use").with_hint(hint)),
        Ok(limit) => Ok(Limit(Some(limit))),
        Err(error) => Err(Failure::usage(error).with_hint(hint)),
    }
}

/// An age in milliseconds: `7d`, `none`.
pub(crate) fn retain_age(text: &str) -> Result<Limit, Failure> {
    limit(text, "an age reads like `12h` or `7d`; `none` takes the limit away", |text| {
        let age = humantime::parse_duration(text).map_err(|error| error.to_string())?;
        u64::try_from(age.as_millis()).map_err(|error| error.to_string())
    })
}

/// How long tombstones are kept, in milliseconds: `7d`.
pub(crate) fn keep_tombstones(text: &str) -> Result<u64, Failure> {
    let hint = "a time reads like `12h` or `7d`";
    let duration = humantime::parse_duration(text);
    match duration.map(|duration| u64::try_from(duration.as_millis())) {
        Ok(Ok(0)) => {
            Err(Failure::usage("nobody would see a tombstone that goes at once").with_hint(hint))
        }
        Ok(Ok(milliseconds)) => Ok(milliseconds),
        Ok(Err(error)) => Err(Failure::usage(error.to_string()).with_hint(hint)),
        Err(error) => Err(Failure::usage(error.to_string()).with_hint(hint)),
    }
}

/// A number of bytes: `50MB`, `none`.
pub(crate) fn retain_bytes(text: &str) -> Result<Limit, Failure> {
    limit(text, "a size reads like `50MB` or `1GiB`; `none` takes the limit away", |text| {
        text.parse::<bytesize::ByteSize>().map(|size| size.as_u64())
    })
}

/// The quota of a node: `10GB`.
pub(crate) fn max_disk(text: &str) -> Result<u64, Failure> {
    let least = NodeConfig::DISK_BYTES_MIN;
    let hint = "a size reads like `10GB`, and is at least `128MiB`";
    match text.parse::<bytesize::ByteSize>().map(|size| size.as_u64()) {
        Ok(size) if size >= least => Ok(size),
        Ok(_) => Err(Failure::usage("that is too little for a node").with_hint(hint)),
        Err(error) => Err(Failure::usage(error).with_hint(hint)),
    }
}

/// A number of records: `10000`, `none`.
pub(crate) fn retain_records(text: &str) -> Result<Limit, Failure> {
    limit(text, "a number reads like `10000`; `none` takes the limit away", |text| {
        text.parse().map_err(|error| format!("`{text}` is not a number: {error}"))
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
    let address = listen_address(text)?;
    let last = address.iter().last();
    if last.is_some_and(|part| part.tag() == "p2p") {
        return Ok(address);
    }
    let message = format!("`{text}` lacks the peer id (`/p2p/…`) at its end");
    Err(Failure::usage(message).with_hint(hints::address()))
}

/// An address to listen at.
pub(crate) fn listen_address(text: &str) -> Result<Multiaddr, Failure> {
    let hint = "an address to listen at looks like `/ip4/0.0.0.0/tcp/4001`, one of a node like";
    let hint = format!("{hint} `{}`", hints::ADDRESS_EXAMPLE);
    match text.parse::<Multiaddr>() {
        Ok(address) if !address.is_empty() => Ok(address),
        Ok(_) => Err(Failure::usage("the address is empty").with_hint(hint)),
        Err(error) => {
            let message = format!("`{text}` is not a multiaddr: {error}");
            Err(Failure::usage(message).with_hint(hint))
        }
    }
}

/// The name of a network.
pub(crate) fn network(text: &str) -> Result<Network, Failure> {
    text.parse().map_err(|error: antiphon::model::NetworkNameError| {
        Failure::usage(error.to_string()).with_hint("a network's name reads like `lab-2`")
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
                "here it takes the name of one topic; `antiphon topics PATTERN` lists those that \
                 match, and `antiphon subscribe PATTERN` reads them"
                    .into()
            }
            _ => name_hint(),
        };
        Failure::usage(error.to_string()).with_hint(hint)
    })
}

/// The name of a topic, or a pattern of names.
pub(crate) fn pattern(text: &str) -> Result<TopicPattern, Failure> {
    text.parse().map_err(|error| {
        let hint = match error {
            TopicPatternError::Name(_) => name_hint(),
            TopicPatternError::AfterRest => {
                "a pattern reads like `sensors.*.temp`, where `*` is any one part, or `sensors.>`, \
                 where `>` is all that follows"
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

/// A number of replicas or of copies.
pub(crate) fn replicas(text: &str) -> Result<u16, Failure> {
    match text.parse() {
        Ok(number) if (1..=REPLICAS_MAX).contains(&number) => Ok(number),
        _ => {
            let message = format!("`{text}` is not a number from 1 to {REPLICAS_MAX}");
            let hint = "`antiphon create TOPIC --replicas 3` keeps each record on three nodes";
            Err(Failure::usage(message).with_hint(hint))
        }
    }
}

/// A header: `NAME=VALUE`. The value is all that follows the first `=`, and may be empty.
pub(crate) fn header(text: &str) -> Result<(String, Bytes), Failure> {
    let hint = "a header reads like `--header source=usgs`";
    match text.split_once('=') {
        Some((name, _)) if name.is_empty() || name.len() > NAME_BYTES_MAX => {
            let message = format!("a header name has 1 to {NAME_BYTES_MAX} bytes");
            Err(Failure::usage(message).with_hint(hint))
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
        assert!(node_address("localhost:4001").unwrap_err().to_string().contains("multiaddr"));
        assert!(node_address(PEER).is_err());
        assert!(listen_address("").is_err());
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
        assert_eq!(retain_age("7d"), Ok(Limit(Some(7 * 24 * 3_600_000))));
        assert_eq!(retain_bytes("50MB"), Ok(Limit(Some(50_000_000))));
        assert_eq!(retain_records("10"), Ok(Limit(Some(10))));
        assert_eq!(retain_records("none"), Ok(Limit(None)));
        let wrong = [
            retain_age("0s"),
            retain_age("soon"),
            retain_bytes("0"),
            retain_bytes("x"),
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
