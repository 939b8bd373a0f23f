//! The words of the product as types.
//!
//! Nothing here knows of messages or of state machines. A type whose bytes are signed, stored
//! or sent has its one encoding in its own file; `docs/formats.md` shows them.

mod batch;
mod clock;
mod compacted;
mod compression;
mod cursor;
mod descriptor;
mod draft;
mod encoding;
mod fork;
mod frontier;
mod given;
mod group;
mod limit_change;
mod member;
mod newer;
mod own_headers;
mod pattern;
mod realm;
mod record;
pub mod roster;
mod runs;
mod signed_header;
mod subscription;
mod topic;

pub use batch::{Announcement, Batch, BatchError, Header, Previous, Run};
pub(crate) use clock::COUNTED_TOO_FAR;
pub use clock::{Clock, Stamp, WallClock};
pub use compacted::{Compacted, ShortHash};
pub use compression::Compression;
pub use cursor::{Cursor, CursorError, Position};
pub use descriptor::{
    Descriptor, DescriptorError, Retention, SignedDescriptor, Writers, floor_that_follows,
};
pub use draft::Draft;
pub use encoding::{Blob, Share, Source, decode_exact, encode_to_bytes};
pub use fork::{ForkError, ForkProof};
pub use frontier::{Entry, Frontier, Hash, Incarnation, LogId, Span};
pub use given::{GIVEN_ID_HEADER, GivenIdError};
pub use group::{Deliveries, MemberId, Progress};
pub use limit_change::{LimitChange, RetentionChange};
pub use member::{NodeId, NodeIdError, NodeKey, Signature};
pub use own_headers::{
    DEAD_LETTER_SUFFIX, DEAD_LETTER_TOPIC, OWN_HEADER_PREFIX, check_user_headers, is_own_header,
};
pub use pattern::{TopicPattern, TopicPatternError};
pub use realm::Realm;
pub use record::{
    ProducerId, Record, RecordError, RecordId, RecordIdError, Records, encode_record,
    validate_given, validate_records,
};
pub use runs::Runs;
pub use signed_header::SignedHeader;
pub use subscription::{SessionId, SubscriberName, Subscription};
use topic::check_name;
pub use topic::{Network, NetworkNameError, TopicId, TopicName, TopicNameError};
