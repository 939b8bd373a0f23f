//! What only a newer program understands of a batch.

use minicbor::{Decode, Decoder};

use super::{BatchError, Compression, Header};

/// Whether a header has nothing that is not in what was decoded of it.
pub(super) fn is_plain(header: &[u8], decoded: &Header) -> bool {
    let optional = [decoded.previous.is_some(), decoded.encryption_key.is_some()];
    let known = REQUIRED + optional.into_iter().filter(|is_there| *is_there).count() as u64;
    decoded.version == Header::VERSION
        && Decoder::new(header).map().is_ok_and(|entries| entries == Some(known))
}

/// Refuses a header that says that its batch is not understood here. Anything else in it that is
/// not known is skipped.
pub(super) fn check(header: &[u8]) -> Result<(), BatchError> {
    let malformed = |_malformed| BatchError::Malformed("header");
    let mut decoder = Decoder::new(header);
    for _ in 0..decoder.map().map_err(malformed)?.unwrap_or_default() {
        match decoder.u32().map_err(malformed)? {
            key::VERSION => {
                let version = decoder.u8().map_err(malformed)?;
                if version != Header::VERSION {
                    return Err(BatchError::Version(version));
                }
            }
            key::COMPRESSION => match Compression::decode(&mut decoder, &mut ()) {
                Ok(_) => {}
                Err(error) if error.is_unknown_variant() => {
                    return Err(BatchError::Newer("compression"));
                }
                Err(error) => return Err(malformed(error)),
            },
            key::FORM => return Err(BatchError::Newer("form of its body")),
            _ => decoder.skip().map_err(malformed)?,
        }
    }
    Ok(())
}

/// Entries that each header has. Without one of them it is not decoded.
const REQUIRED: u64 = 11;

/// Keys of a header that decide whether its batch is understood.
mod key {
    pub(super) const VERSION: u32 = 0;
    pub(super) const COMPRESSION: u32 = 11;
    pub(super) const FORM: u32 = 15;
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Blob, Incarnation, NodeKey, Previous, ProducerId, Run, Stamp, TopicId, encode_to_bytes,
        },
        *,
    };

    #[test]
    fn a_header_is_plain_unless_it_has_an_entry_that_is_not_known() {
        let incarnation = Incarnation(1);
        let previous = Previous { incarnation, next: 7, hash: super::super::Hash([2; 32]) };
        for (previous, encryption_key) in [
            (None, None),
            (Some(previous), None),
            (None, Some(Blob(vec![3].into()))),
            (Some(previous), Some(Blob(vec![3].into()))),
        ] {
            let header = Header {
                version: Header::VERSION,
                topic: TopicId::from_bytes([4; 32]),
                writer: NodeKey::from_secret(&[5; 32]).node(),
                incarnation,
                first: 7,
                count: 1,
                previous,
                stamp: Stamp::default(),
                runs: vec![Run { producer: ProducerId([6; 16]), first: 0, count: 1 }],
                body_hash: [7; 32],
                body_bytes: 1,
                compression: Compression::None,
                encryption_key,
            };
            let bytes = encode_to_bytes(&header).to_vec();
            assert!(is_plain(&bytes, &header), "{header:?}");
            assert_eq!(check(&bytes), Ok(()));
            let mut longer = bytes.clone();
            longer[0] += 1;
            longer.extend([0x0f, 0x00]);
            assert!(!is_plain(&longer, &header), "{header:?}");
            assert_eq!(check(&longer), Err(BatchError::Newer("form of its body")));
            assert!(!is_plain(&bytes, &Header { version: 2, ..header }));
        }
    }
}
