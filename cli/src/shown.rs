//! Texts of others on a terminal.
//!
//! A terminal obeys control characters, and anybody in the network may write some into a record, a
//! name or an answer. Where a person reads the output they are shown as escapes, such as `\x1b`;
//! files and pipes get every byte as it is.

use std::{borrow::Cow, fmt::Write as _};

/// A name, a message or a line of a table. Characters that nobody sees or that turn the direction
/// of the text are shown as well: two names that look alike are two.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| c != '\n' && (c.is_control() || turns(c) || is_invisible(c));
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) { push_escape(&mut shown, c) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Appends a part of a record. Line ends and tabs stay; what is not UTF-8 is shown by its bytes.
pub(crate) fn push_record(bytes: &[u8], out: &mut Vec<u8>) {
    let hidden = |c: char| !matches!(c, '\n' | '\t') && (c.is_control() || turns(c));
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(hidden) {
            out.extend_from_slice(&rest.as_bytes()[..at]);
            let Some(c) = rest[at..].chars().next() else { break };
            let mut escape = String::new();
            push_escape(&mut escape, c);
            out.extend_from_slice(escape.as_bytes());
            rest = &rest[at + c.len_utf8()..];
        }
        out.extend_from_slice(rest.as_bytes());
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}

/// A line of JSON. In it such characters are within strings, where they have escapes of their own.
pub(crate) fn json(line: &str) -> Cow<'_, str> {
    let hidden = |c: char| c.is_control() || turns(c) || is_invisible(c);
    if !line.contains(hidden) {
        return Cow::Borrowed(line);
    }
    let mut shown = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn push_escape(out: &mut String, c: char) {
    let escape = match c {
        '\t' => "\\t".to_owned(),
        '\r' => "\\r".to_owned(),
        c if c.is_ascii() => format!("\\x{:02x}", u32::from(c)),
        c => format!("\\u{{{:x}}}", u32::from(c)),
    };
    out.push_str(&escape);
}

/// Whether a character turns the direction of the text around it.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether nothing is seen of a character that is no white space: joiners, fillers, marks and tags.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180e}'
            | '\u{200b}'..='\u{200d}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{2060}'..='\u{2065}'
            | '\u{206a}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_of_any_script_stays() {
        for plain in ["quakes", "地震", "زلزله", "a\nb", "😀"] {
            assert_eq!(text(plain), plain);
            let mut out = Vec::new();
            push_record(plain.as_bytes(), &mut out);
            assert_eq!(out, plain.as_bytes());
        }
        let mut out = Vec::new();
        push_record("a\tb 👩\u{200d}🔬".as_bytes(), &mut out);
        assert_eq!(out, "a\tb 👩\u{200d}🔬".as_bytes());
    }

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        assert_eq!(text("a\x1b[2Jb\u{9b}c\x7f"), "a\\x1b[2Jb\\u{9b}c\\x7f");
        assert_eq!(text("evil\u{202e}txt.exe\u{200b}"), "evil\\u{202e}txt.exe\\u{200b}");
        assert_eq!(text("\\x1b"), "\\x1b", "what is shown once stays as it is");
        let mut out = Vec::new();
        push_record(b"a\x1b]0;x\x07\r\n\xffb\xc2\x9b", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "a\\x1b]0;x\\x07\\r\n\\xffb\\u{9b}");
    }

    #[test]
    fn json_says_the_same() {
        let value = serde_json::json!({ "a": "x\u{9b}y\u{202e}\u{e0001}\u{1b}" });
        let shown = json(&value.to_string()).into_owned();
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
