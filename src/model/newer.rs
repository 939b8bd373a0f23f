//! What only a newer program understands of a batch.

use minicbor::{Decode, Decoder};

use super::{BatchError, Compression, Header};

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

/// Keys of a header that decide whether its batch is understood.
mod key {
    pub(super) const VERSION: u32 = 0;
    pub(super) const COMPRESSION: u32 = 11;
    pub(super) const FORM: u32 = 15;
}
