//! Who belongs to a closed network: what its root, its admins and its newcomers sign.
//!
//! - The root signs the *charter*, which names the admins.
//! - An admin signs *passes*, which admit members, and *revocations*, which remove them.
//! - A newcomer signs a *claim* with the key of an invitation, so it joins while admins are away.
//! - A *closure* says where the logs of a removed writer end.
//!
//! All of them together are the *roster*. A *ticket* is a string that a newcomer joins with.

mod any;
mod belonging;
mod charter;
mod claims;
mod contents;
mod excerpt;
mod founding;
mod introduced;
mod kept;
mod pass;
mod removal;
mod rights;
mod set;
mod signed_by;
mod slot;
mod statement;
#[cfg(test)]
mod tests;
mod ticket;
mod told;

pub use any::Statement;
pub use belonging::{Admitted, Excluded, Membership, Standing, TicketRefused};
pub use charter::{Admin, Charter, Door, NetworkId, TopicIds};
pub use founding::{Founding, Known};
pub use introduced::Introduced;
pub use kept::{Credentials, Kept, KeptError};
pub use pass::{Claim, EncryptionKey, Invitation, MemberKind, Pass};
pub use removal::{Closure, Cut, Revocation};
pub use rights::{Grant, GrantError, Rights};
pub use set::{NotAccepted, Roster};
pub use slot::Slot;
pub use statement::{Signed, StatementError, Terms};
pub use ticket::{Ticket, TicketContact, TicketError};
pub use told::{NotTaken, Told};
