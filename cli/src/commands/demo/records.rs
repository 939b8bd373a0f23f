//! The demo's records, and the check that none is missing, changed, doubled or out of place.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::exit::Failure;

/// The lines of a file.
pub(super) fn split(content: &[u8]) -> Vec<Bytes> {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.split(|byte| *byte == b'\n').map(Bytes::copy_from_slice).collect()
}

/// Checks that `got` is `published`: every record byte for byte, once, in order.
pub(super) fn check(who: &str, published: &[Bytes], got: &[Bytes]) -> Result<(), Failure> {
    if published == got {
        return Ok(());
    }
    let mut balance: BTreeMap<&Bytes, i64> = BTreeMap::new();
    for record in published {
        *balance.entry(record).or_default() += 1;
    }
    for record in got {
        *balance.entry(record).or_default() -= 1;
    }
    let lost: i64 = balance.values().filter(|count| **count > 0).sum();
    let extra: i64 = -balance.values().filter(|count| **count < 0).sum::<i64>();
    let place = published.iter().zip(got).take_while(|(one, other)| one == other).count();
    Err(Failure::failed(format!(
        "{who} has {} of {} records: {lost} lost, {extra} doubled or changed; \
         the first difference is at record {}",
        got.len(),
        published.len(),
        place + 1
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_a_newline_or_with_the_file() {
        assert_eq!(split(b"a\n\nb\n"), split(b"a\n\nb"));
        assert_eq!(split(b"a\n\nb"), [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn what_differs_is_named() {
        let records = |text: &'static str| text.split(' ').map(Bytes::from).collect::<Vec<_>>();
        let message =
            |got| check("node 3", &records("a b c"), &records(got)).unwrap_err().to_string();
        assert_eq!(check("node 3", &records("a b c"), &records("a b c")), Ok(()));
        assert!(message("a c").contains("2 of 3 records: 1 lost, 0 doubled"));
        assert!(message("a b b c").contains("0 lost, 1 doubled or changed"));
        let swapped = message("a c b");
        assert!(
            swapped.contains("0 lost, 0 doubled") && swapped.ends_with("record 2"),
            "{swapped}"
        );
    }
}
