//! Archives of topics in files: reading them from any place, piece by piece.

use std::io::{self, Read};

use antiphon::wire::archive::{ArchiveError, Decoder, Section};
use bytes::BytesMut;
use thiserror::Error;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// Why an archive is not read on.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// It is damaged, not whole, or none.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The file system refused.
    #[error(transparent)]
    Input(#[from] io::Error),
}

/// Reads an archive. Memory is bounded by one section.
#[derive(Debug)]
pub(crate) struct ArchiveReader<R> {
    input: R,
    buffer: BytesMut,
    piece: Vec<u8>,
    decoder: Decoder,
}

impl<R: Read> ArchiveReader<R> {
    /// From the beginning of an archive.
    pub(crate) fn new(input: R) -> Self {
        let (buffer, piece) = (BytesMut::new(), vec![0; READ_BYTES]);
        Self { input, buffer, piece, decoder: Decoder::default() }
    }

    /// The next section; none behind the end mark of a whole archive.
    pub(crate) fn next(&mut self) -> Result<Option<Section>, ReadError> {
        loop {
            if let Some(section) = self.decoder.next(&mut self.buffer)? {
                return Ok(Some(section));
            }
            match self.input.read(&mut self.piece) {
                Ok(0) => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
                Ok(count) => self.buffer.extend_from_slice(&self.piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What was read so far.
    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The decoder as it is after what was read, to continue with.
    pub(crate) fn into_decoder(self) -> Decoder {
        self.decoder
    }
}
