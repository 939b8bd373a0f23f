//! The JSON of records, and their text.
//!
//! `{"topic","id","writer","seq","time","key","headers","payload"}`. Bytes that are not UTF-8
//! stand as base64 under the name with `_base64` at its end, in place of the plain one. `time`
//! is RFC 3339 in UTC with milliseconds. `headers` is an array of `{"name","value"}`, for names
//! may repeat and their order counts. Some records have more at their end:
//!
//! - `"forked":true`: the record is of a branch: its writer signed another one for the same place
//! - `"deliveries"`: the number of this delivery to a group
//! - `"cursor"`, with `--cursor`: the place behind the record

use std::{
    fmt,
    io::{self, Write},
};

use antiphon::model::{Cursor, NodeId, ProducerId, RecordId, TopicName, WallClock};
use antiphon_node::client::Delivered;
use data_encoding::BASE64;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{
    clock::rfc3339,
    printer::{OutputError, Printer},
    template::{Shown, Template},
};

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON object a line.
    Json {
        /// Whether each has the cursor behind it.
        with_cursor: bool,
    },
    /// The payload and a newline.
    Text,
    /// The payload alone.
    Raw,
    /// As `--format` says.
    Template(Template),
}

/// Writes records. Names that repeat from record to record are made once.
#[derive(Debug)]
pub(crate) struct RecordPrinter {
    form: Form,
    /// A record as a template writes it; kept for the next one's sake.
    written: Vec<u8>,
    writer: Option<(NodeId, String)>,
    producer: Option<(ProducerId, String)>,
}

impl Form {
    /// Whether it says a record's cursor.
    pub(crate) fn has_cursor(&self) -> bool {
        match self {
            Self::Json { with_cursor } => *with_cursor,
            Self::Template(template) => template.has_cursor(),
            Self::Text | Self::Raw => false,
        }
    }
}

impl RecordPrinter {
    /// For records that are written in this form.
    pub(crate) fn new(form: Form) -> Self {
        Self { form, written: Vec::new(), writer: None, producer: None }
    }

    /// Writes a record of a topic.
    pub(crate) fn print(
        &mut self,
        printer: &mut Printer,
        topic: &TopicName,
        delivered: &Delivered,
        deliveries: Option<u32>,
        cursor: Option<&Cursor>,
    ) -> Result<(), OutputError> {
        match &self.form {
            Form::Json { with_cursor } => {
                let cursor = cursor.filter(|_| *with_cursor);
                printer.object(&Line { deliveries, cursor, ..self.line(topic, delivered) })
            }
            Form::Text => {
                printer.record(&delivered.record.payload)?;
                printer.bytes(b"\n")
            }
            Form::Raw => printer.bytes(&delivered.record.payload),
            Form::Template(template) => {
                self.written.clear();
                let how = Shown { deliveries, cursor, is_terminal: printer.is_terminal() };
                template.write(topic, delivered, how, &mut self.written);
                printer.bytes(&self.written)
            }
        }
    }

    /// Writes a record as JSON to somewhere else, whatever its form.
    pub(crate) fn write_json(
        &mut self,
        output: &mut impl Write,
        topic: &TopicName,
        delivered: &Delivered,
    ) -> io::Result<()> {
        serde_json::to_writer(&mut *output, &self.line(topic, delivered))?;
        output.write_all(b"\n")
    }

    fn line<'a>(&'a mut self, topic: &'a TopicName, delivered: &'a Delivered) -> Line<'a> {
        if self.writer.as_ref().is_none_or(|(writer, _)| *writer != delivered.writer) {
            self.writer = Some((delivered.writer, delivered.writer.to_string()));
        }
        if self.producer.as_ref().is_none_or(|(producer, _)| *producer != delivered.id.producer) {
            self.producer = Some((delivered.id.producer, id_prefix(delivered.id)));
        }
        let text = |named: Option<&'a str>| named.expect("the name was made above");
        Line {
            topic: topic.as_str(),
            writer: text(self.writer.as_ref().map(|(_, text)| text.as_str())),
            id_prefix: text(self.producer.as_ref().map(|(_, text)| text.as_str())),
            delivered,
            deliveries: None,
            cursor: None,
        }
    }
}

/// What the names of a producer's records start with: all but the number.
fn id_prefix(id: RecordId) -> String {
    let mut text = id.to_string();
    text.truncate(text.len() - id.number.to_string().len());
    text
}

struct Line<'a> {
    topic: &'a str,
    writer: &'a str,
    id_prefix: &'a str,
    delivered: &'a Delivered,
    deliveries: Option<u32>,
    cursor: Option<&'a Cursor>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Delivered { id, number, record, forked, .. } = self.delivered;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("topic", self.topic)?;
        map.serialize_entry("id", &Text(format_args!("{}{}", self.id_prefix, id.number)))?;
        map.serialize_entry("writer", self.writer)?;
        map.serialize_entry("seq", number)?;
        map.serialize_entry("time", &record.time.map(Time))?;
        match &record.key {
            Some(key) => bytes_entry(&mut map, "key", "key_base64", key)?,
            None => map.serialize_entry("key", &())?,
        }
        map.serialize_entry("headers", &Headers(&record.headers))?;
        bytes_entry(&mut map, "payload", "payload_base64", &record.payload)?;
        if *forked {
            map.serialize_entry("forked", forked)?;
        }
        if let Some(deliveries) = self.deliveries {
            map.serialize_entry("deliveries", &deliveries)?;
        }
        if let Some(cursor) = self.cursor {
            map.serialize_entry("cursor", &Text(format_args!("{cursor}")))?;
        }
        map.end()
    }
}

fn bytes_entry<M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    name_base64: &'static str,
    bytes: &[u8],
) -> Result<(), M::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => map.serialize_entry(name, text),
        Err(_) => map.serialize_entry(name_base64, &BASE64.encode(bytes)),
    }
}

/// A text that is formatted straight into the output.
struct Text<'a>(fmt::Arguments<'a>);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A time; null where it is after the year 9999.
struct Time(WallClock);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match rfc3339(self.0) {
            Some(time) => serializer.collect_str(&time),
            None => serializer.serialize_none(),
        }
    }
}

struct Headers<'a>(&'a [(String, bytes::Bytes)]);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(name, value)| Header { name, value }))
    }
}

struct Header<'a> {
    name: &'a str,
    value: &'a [u8],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", self.name)?;
        bytes_entry(&mut map, "value", "value_base64", self.value)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use antiphon::model::Record;
    use serde_json::{Value, json};

    use super::*;

    fn value(record: Record) -> Value {
        let id = RecordId { producer: ProducerId([9; 16]), number: 41 };
        let writer = NodeId::from_bytes([1; 32]);
        let delivered = Delivered { id, writer, number: 7, record, forked: false };
        let topic = "quakes".parse().unwrap();
        serde_json::to_value(
            RecordPrinter::new(Form::Json { with_cursor: false }).line(&topic, &delivered),
        )
        .unwrap()
    }

    #[test]
    fn text_stands_as_text() {
        let record = Record {
            key: Some("k\n".into()),
            headers: vec![("a".into(), "1".into()), ("a".into(), vec![0xff].into())],
            ..Record::new(WallClock(1_517_363_399_650), "地震")
        };
        let id = RecordId { producer: ProducerId([9; 16]), number: 41 };
        let expected = json!({
            "topic": "quakes",
            "id": id.to_string(),
            "writer": NodeId::from_bytes([1; 32]).to_string(),
            "seq": 7,
            "time": "2018-01-31T01:49:59.650Z",
            "key": "k\n",
            "headers": [{ "name": "a", "value": "1" }, { "name": "a", "value_base64": "/w==" }],
            "payload": "地震",
        });
        assert_eq!(value(record), expected);
    }

    #[test]
    fn binary_stands_as_base64_in_place_of_text() {
        let record =
            Record { key: Some(vec![0xc0].into()), ..Record::new(WallClock(0), vec![0, 0xff]) };
        let value = value(record);
        assert_eq!(value["payload_base64"], "AP8=");
        assert_eq!(value["key_base64"], "wA==");
        assert!(value.get("payload").is_none() && value.get("key").is_none());
    }

    #[test]
    fn nothing_stands_as_null_or_empty() {
        let value = value(Record::new(WallClock(u64::MAX), ""));
        assert_eq!(value["key"], Value::Null);
        assert_eq!(value["time"], Value::Null);
        assert_eq!((&value["headers"], &value["payload"]), (&json!([]), &json!("")));
    }
}
