//! One hello each way.

use antiphon::limits::HELLO_BYTES_MAX;
use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;

use super::{AdmissionError, Hello, Judge};

/// The end that dialled: it speaks first.
pub(super) async fn introduce<S>(
    judge: &Judge,
    peer: PeerId,
    stream: &mut S,
) -> Result<(), AdmissionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    say(stream, &judge.greeting()).await?;
    let greeting = match hear(stream).await? {
        Hello::Greeting(greeting) => greeting,
        Hello::Refused(refused) => return Err(AdmissionError::RefusedBy(refused)),
    };
    judge.judge(&peer, &greeting).map_err(AdmissionError::Refused)
}

/// The end that was dialled: it says nothing before it has let the other one in.
pub(super) async fn receive<S>(
    judge: &Judge,
    peer: PeerId,
    stream: &mut S,
) -> Result<(), AdmissionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let greeting = match hear(stream).await? {
        Hello::Greeting(greeting) => greeting,
        Hello::Refused(refused) => return Err(AdmissionError::RefusedBy(refused)),
    };
    match judge.judge(&peer, &greeting) {
        Ok(()) => say(stream, &judge.greeting()).await,
        Err(refused) => {
            judge.complain(&peer, &refused);
            // Whether it still hears that changes nothing.
            if say(stream, &Hello::Refused(refused.clone())).await.is_ok() {
                let _ = stream.close().await;
            }
            Err(AdmissionError::Refused(refused))
        }
    }
}

/// Bytes that say how long a hello is.
const LENGTH_BYTES: usize = 4;

async fn say(stream: &mut (impl AsyncWrite + Unpin), hello: &Hello) -> Result<(), AdmissionError> {
    let bytes = hello.encode();
    let length = u32::try_from(bytes.len()).expect("a hello is short");
    stream.write_all(&[&length.to_be_bytes(), &bytes[..]].concat()).await?;
    Ok(stream.flush().await?)
}

async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> Result<Hello, AdmissionError> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length);
    if length as usize > HELLO_BYTES_MAX {
        return Err(AdmissionError::Garbage(format!("{length} bytes are too many")));
    }
    // Memory is taken as the bytes come.
    let mut bytes = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut bytes).await?;
    if bytes.len() < length as usize {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    let hello = Hello::decode(&Bytes::from(bytes));
    hello.map_err(|error| AdmissionError::Garbage(error.to_string()))
}
