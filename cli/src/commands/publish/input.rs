//! Where the records of `publish` come from: files, and the lines of standard input.

use std::{
    io::{self, IsTerminal, Read},
    path::Path,
    thread,
};

use antiphon::limits::RECORD_BYTES_MAX;
use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{exit::Failure, printer::Printer, words};

/// Bytes that are read from standard input at once.
const READ_BYTES: usize = 64 * 1024;

/// Chunks of lines that wait to be published. Beyond it nothing is read.
const CHUNKS_MAX: usize = 16;

/// A line of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// Without the newline at its end.
    Line(Bytes),
    /// Longer than any record: the number of its bytes, none of which was kept.
    TooLong(usize),
}

/// The content of a file, or of standard input where the path is `-`.
pub(super) fn file(path: &Path) -> anyhow::Result<Bytes> {
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(fs_err::File::open(path)?)
    };
    let mut bytes = Vec::new();
    input.take(RECORD_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() <= RECORD_BYTES_MAX {
        return Ok(bytes.into());
    }
    let limit = words::size(RECORD_BYTES_MAX as u64);
    let message = if path == Path::new("-") {
        format!("standard input has more than {limit}, which is the limit of a record")
    } else {
        // The length of a pipe is not known before its end.
        let known = fs_err::metadata(path).map_or(0, |metadata| metadata.len());
        let size = words::counted(known.max(bytes.len() as u64), "byte");
        format!("{} has {size} or more; the limit of a record is {limit}", path.display())
    };
    let hint = "publish it in parts, or line by line from standard input";
    Err(Failure::failed(message).with_hint(hint).into())
}

/// Whether a person types the lines. Progress would be in the way of them.
pub(super) fn is_typed() -> bool {
    io::stdin().is_terminal()
}

/// Tells a person at a terminal what to do.
pub(super) fn say_how_to_end(printer: &mut Printer) {
    if is_typed() {
        printer.note("each line is a record; Ctrl-D at the start of a line ends");
    }
}

/// What a line has in the field that an option names: a text or a number.
pub(super) fn field_of(
    line: &[u8],
    field: &str,
    option: &str,
    number: u64,
) -> Result<String, Failure> {
    let value: Option<Value> = serde_json::from_slice(line).ok();
    match value.as_ref().and_then(|value| value.get(field)) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ if mark_of(line).is_some() => {
            let message = format!("line {number} begins with a byte order mark, so it is not JSON");
            let hint = "remove the mark with `sed 's/^\\xEF\\xBB\\xBF//'`; convert UTF-16 with \
                `iconv -f UTF-16 -t UTF-8`";
            Err(Failure::failed(message).with_hint(hint))
        }
        _ => {
            let message = format!("line {number} has no text or number `{field}`");
            let hint = format!("with `{option}` each line is a JSON object that has the field");
            Err(Failure::failed(message).with_hint(hint))
        }
    }
}

/// What programs write before a text to say how it is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Utf8,
    Utf16,
}

fn mark_of(line: &[u8]) -> Option<Mark> {
    if line.starts_with(UTF8_MARK) {
        return Some(Mark::Utf8);
    }
    let is_utf16 = line.starts_with(&[0xff, 0xfe]) || line.starts_with(&[0xfe, 0xff]);
    is_utf16.then_some(Mark::Utf16)
}

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// The first line without the byte order mark before it, of which a user is told. The mark is not
/// part of the text, and no JSON begins with one.
pub(super) fn without_mark(mut line: Bytes, printer: &mut Printer) -> Bytes {
    match mark_of(&line) {
        Some(Mark::Utf8) => {
            printer.note("standard input begins with a byte order mark, which is left out");
            line.split_off(UTF8_MARK.len())
        }
        Some(Mark::Utf16) => {
            let text = "standard input begins with the byte order mark of UTF-16; its bytes are \
                split at LF and published unchanged";
            printer.warning(text, "convert it first: `iconv -f UTF-16 -t UTF-8`");
            line
        }
        None => line,
    }
}

/// The lines of standard input, as many at a time as are there. They are read by a thread of
/// their own, so that receipts are shown while the next line is waited for.
pub(super) fn lines() -> mpsc::Receiver<anyhow::Result<Vec<Item>>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        let mut buffer = vec![0; READ_BYTES];
        let mut splitter = Splitter::default();
        loop {
            let chunk = match input.read(&mut buffer) {
                Ok(0) => {
                    let _ = sender.blocking_send(Ok(splitter.finish().into_iter().collect()));
                    return;
                }
                Ok(count) => Ok(splitter.push(&buffer[..count])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error).context("standard input cannot be read"),
            };
            let failed = chunk.is_err();
            if sender.blocking_send(chunk).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// Splits a stream of bytes at its newlines. Keeps at most one record's bytes.
#[derive(Debug, Default)]
struct Splitter {
    /// The start of a line whose end has not come.
    partial: BytesMut,
    /// Bytes of a line that is too long and was dropped.
    dropped: usize,
}

impl Splitter {
    /// Takes more bytes; the lines that end in them.
    fn push(&mut self, mut bytes: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end]);
            items.push(self.take());
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
        items
    }

    /// The last line, where no newline ends it.
    fn finish(&mut self) -> Option<Item> {
        (self.dropped > 0 || !self.partial.is_empty()).then(|| self.take())
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.dropped == 0 && self.partial.len() + bytes.len() <= RECORD_BYTES_MAX {
            self.partial.extend_from_slice(bytes);
        } else {
            self.dropped = self.dropped.saturating_add(self.partial.len() + bytes.len());
            self.partial.clear();
        }
    }

    fn take(&mut self) -> Item {
        match std::mem::take(&mut self.dropped) {
            0 => Item::Line(self.partial.split().freeze()),
            size => Item::TooLong(size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &'static str) -> Item {
        Item::Line(Bytes::from(text))
    }

    #[test]
    fn lines_are_split_wherever_the_reads_end() {
        let text = b"a\n\nb\r\nc";
        for cut in 0..text.len() {
            let mut splitter = Splitter::default();
            let mut items = splitter.push(&text[..cut]);
            items.extend(splitter.push(&text[cut..]));
            items.extend(splitter.finish());
            assert_eq!(items, [line("a"), line(""), line("b\r"), line("c")], "cut at {cut}");
        }
    }

    #[test]
    fn an_id_is_a_text_or_a_number() {
        let id = |text: &str| {
            field_of(text.as_bytes(), "id", "--id-from", 7).map_err(|error| error.to_string())
        };
        assert_eq!(id(r#"{"id": "us1", "other": 2}"#), Ok("us1".into()));
        assert_eq!(id(r#"{"id": 12.50}"#), Ok("12.5".into()));
        for text in ["", "us1", "[]", "{}", r#"{"id": null}"#, r#"{"id": ["us1"]}"#] {
            assert_eq!(id(text), Err("line 7 has no text or number `id`".into()));
        }
    }

    #[test]
    fn a_byte_order_mark_is_named_where_it_is_in_the_way() {
        let error = |line: &[u8]| field_of(line, "k", "--key-from", 7).unwrap_err().to_string();
        for mark in [UTF8_MARK, b"\xff\xfe"] {
            let line = [mark, br#"{"k": "a"}"#].concat();
            assert_eq!(error(&line), "line 7 begins with a byte order mark, so it is not JSON");
        }
        assert_eq!(error(b"\xff"), "line 7 has no text or number `k`");
    }

    #[test]
    fn a_newline_at_the_end_makes_no_empty_record() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(b"a\n"), [line("a")]);
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn a_line_above_the_limit_is_measured_and_not_kept() {
        let mut splitter = Splitter::default();
        let half = vec![b'x'; RECORD_BYTES_MAX / 2 + 1];
        assert_eq!(splitter.push(&half), []);
        assert_eq!(splitter.push(&half), []);
        assert!(splitter.partial.is_empty());
        let items = splitter.push(b"y\nz\n");
        assert_eq!(items, [Item::TooLong(RECORD_BYTES_MAX + 3), line("z")]);
        let mut whole = vec![b'x'; RECORD_BYTES_MAX];
        whole.push(b'\n');
        assert!(matches!(splitter.push(&whole)[..], [Item::Line(_)]));
    }
}
