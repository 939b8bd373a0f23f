//! `--format`: how users want a record written.
//!
//! Text with `%` and a letter for what a record has, and the escapes of C:
//!
//! | | |
//! |---|---|
//! | `%t` | topic |
//! | `%k` `%v` | key, payload, as they are |
//! | `%h{NAME}` | value of the first header of this name |
//! | `%d` `%T` | time: RFC 3339 in UTC, milliseconds since 1970 |
//! | `%w` `%s` `%i` | writer, sequence number in its log, id |
//! | `%n` | the number of this delivery, in a group |
//! | `%c` | the cursor behind it |
//! | `%%` | a percent sign |
//! | `\n` `\t` `\r` `\0` `\\` `\xHH` | newline, tab, return, zero, backslash, a byte |
//!
//! What a record has not is written as nothing. No newline is added. On a terminal the parts of a
//! record are shown without what it would obey; the text of the template is the user's own.

use std::str::FromStr;

use antiphon::model::{Cursor, TopicName};
use antiphon_node::client::Delivered;

use crate::{clock::rfc3339, exit::Failure, shown};

/// A way to write records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Topic,
    Key,
    Payload,
    Header(String),
    Time,
    Milliseconds,
    Writer,
    Sequence,
    Id,
    Deliveries,
    Cursor,
}

/// What a record is written with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shown<'a> {
    /// The number of this delivery, from 1.
    pub(crate) deliveries: Option<u32>,
    /// The place behind it.
    pub(crate) cursor: Option<&'a Cursor>,
    /// Whether a person reads it.
    pub(crate) is_terminal: bool,
}

const HINT: &str = "`--format '%d %k %h{source} %v\\n'`: %t topic, %k key, %v payload, %h{NAME} \
    header, %d time, %T milliseconds since 1970, %w writer, %s sequence number, %i id, %n delivery, %c cursor, %% percent; \
    \\n \\t \\r \\0 \\\\ \\xHH";

impl FromStr for Template {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let usage = |message: String| Failure::usage(message).with_hint(HINT);
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['%', '\\']) {
            push_text(&mut parts, &rest.as_bytes()[..at]);
            let (what, after) = if rest.as_bytes()[at] == b'%' {
                directive(&rest[at + 1..])
            } else {
                escape(&rest[at + 1..]).map(|(byte, after)| (Part::Text(vec![byte]), after))
            }
            .ok_or_else(|| {
                let wrong: String = rest[at..].chars().take(2).collect();
                usage(format!("`{wrong}` has no meaning in a format"))
            })?;
            match what {
                Part::Text(text) => push_text(&mut parts, &text),
                other => parts.push(other),
            }
            rest = after;
        }
        push_text(&mut parts, rest.as_bytes());
        if parts.is_empty() {
            return Err(usage("the format is empty".to_owned()));
        }
        Ok(Self(parts))
    }
}

fn push_text(parts: &mut Vec<Part>, text: &[u8]) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => before.extend_from_slice(text),
        Some(_) | None => parts.push(Part::Text(text.to_vec())),
    }
}

/// What follows a percent sign, and the rest.
fn directive(text: &str) -> Option<(Part, &str)> {
    if let Some(named) = text.strip_prefix("h{") {
        let (name, rest) = named.split_once('}')?;
        return (!name.is_empty()).then(|| (Part::Header(name.to_owned()), rest));
    }
    let part = match text.chars().next()? {
        't' => Part::Topic,
        'k' => Part::Key,
        'v' => Part::Payload,
        'd' => Part::Time,
        'T' => Part::Milliseconds,
        'w' => Part::Writer,
        's' => Part::Sequence,
        'i' => Part::Id,
        'n' => Part::Deliveries,
        'c' => Part::Cursor,
        '%' => Part::Text(vec![b'%']),
        _ => return None,
    };
    Some((part, &text[1..]))
}

/// What follows a backslash, and the rest.
fn escape(text: &str) -> Option<(u8, &str)> {
    let byte = match text.chars().next()? {
        'n' => b'\n',
        't' => b'\t',
        'r' => b'\r',
        '0' => 0,
        '\\' => b'\\',
        'x' => {
            let digits = text.get(1..3)?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let byte = is_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()?;
            return Some((byte, &text[3..]));
        }
        _ => return None,
    };
    Some((byte, &text[1..]))
}

impl Template {
    /// Whether it writes the cursor.
    pub(crate) fn has_cursor(&self) -> bool {
        self.0.contains(&Part::Cursor)
    }

    /// Appends a record to `out`.
    pub(crate) fn write(
        &self,
        topic: &TopicName,
        delivered: &Delivered,
        how: Shown<'_>,
        out: &mut Vec<u8>,
    ) {
        let record = &delivered.record;
        let push = |bytes: &[u8], out: &mut Vec<u8>| {
            if how.is_terminal {
                shown::push_record(bytes, out);
            } else {
                out.extend_from_slice(bytes);
            }
        };
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Topic if how.is_terminal => {
                    out.extend_from_slice(shown::text(topic.as_str()).as_bytes());
                }
                Part::Topic => out.extend_from_slice(topic.as_str().as_bytes()),
                Part::Key => push(record.key.as_deref().unwrap_or_default(), out),
                Part::Payload => push(&record.payload, out),
                Part::Header(name) => {
                    let named = record.headers.iter().find(|(other, _)| other == name);
                    push(named.map_or(&[][..], |(_, value)| value), out);
                }
                Part::Time => {
                    let time = record.time.and_then(rfc3339).map(|time| time.to_string());
                    out.extend_from_slice(time.unwrap_or_default().as_bytes());
                }
                Part::Milliseconds => {
                    let time = record.time.map(|time| time.0.to_string());
                    out.extend_from_slice(time.unwrap_or_default().as_bytes());
                }
                Part::Writer => out.extend_from_slice(delivered.writer.to_string().as_bytes()),
                Part::Sequence => out.extend_from_slice(delivered.number.to_string().as_bytes()),
                Part::Id => out.extend_from_slice(delivered.id.to_string().as_bytes()),
                Part::Deliveries => {
                    let count = how.deliveries.map(|count| count.to_string()).unwrap_or_default();
                    out.extend_from_slice(count.as_bytes());
                }
                Part::Cursor => {
                    let cursor = how.cursor.map(Cursor::to_string).unwrap_or_default();
                    out.extend_from_slice(cursor.as_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon::model::{NodeId, ProducerId, Record, RecordId, WallClock};

    use super::*;

    fn written(template: &str, record: Record) -> Vec<u8> {
        let id = RecordId { producer: ProducerId([9; 16]), number: 41 };
        let writer = NodeId::from_bytes([1; 32]);
        let delivered = Delivered { id, writer, number: 7, record, forked: false };
        let mut out = Vec::new();
        let template: Template = template.parse().unwrap();
        let how = Shown { deliveries: Some(3), ..Shown::default() };
        template.write(&"quakes".parse().unwrap(), &delivered, how, &mut out);
        out
    }

    #[test]
    fn each_letter_stands_for_its_part() {
        let record = || Record {
            key: Some("k".into()),
            headers: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
            ..Record::new(WallClock(1_517_363_399_650), vec![0xff, b'v'])
        };
        let line = written(r"%t|%k|%h{a}|%h{b}|%d|%T|%s|%n|100%%\n", record());
        let expected = "quakes|k|1||2018-01-31T01:49:59.650Z|1517363399650|7|3|100%\n";
        assert_eq!(line, expected.as_bytes());
        assert_eq!(written("%v", record()), [0xff, b'v'], "as it is");
        let id = RecordId { producer: ProducerId([9; 16]), number: 41 };
        let names = format!("{} {id}", NodeId::from_bytes([1; 32]));
        assert_eq!(written("%w %i", record()), names.as_bytes());
    }

    #[test]
    fn escapes_are_bytes_and_what_is_not_there_is_nothing() {
        let record = Record::new(WallClock(u64::MAX), "");
        assert_eq!(written(r"%k%h{a}%d%v\x1f\0\t\r\\é", record), b"\x1f\0\t\r\\\xc3\xa9");
    }

    #[test]
    fn what_stands_for_nothing_gets_a_hint() {
        for wrong in
            ["", "%", "%q", "%é", "\\", "\\q", "\\x1", "\\xg0", "\\x+1", "%h", "%h{}", "%h{a"]
        {
            let error = wrong.parse::<Template>().unwrap_err();
            assert!(error.hint().unwrap().contains("%v payload"), "{wrong}: {error}");
        }
    }
}
