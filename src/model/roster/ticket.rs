//! Tickets: one string that says all a machine must know to join a closed network.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use minicbor::{Decode, Encode};
use thiserror::Error;

use super::{
    charter::{Charter, Door, NetworkId},
    introduced::Introduced,
    pass::{Claim, MemberKind, Pass},
    statement::{Signed, list},
};
use crate::{
    limits::{ADDRESS_BYTES_MAX, TICKET_BYTES_MAX, TICKET_CONTACTS_MAX},
    model::{Blob, NodeId, NodeKey, decode_exact, encode_to_bytes},
};

/// What every ticket begins with.
const PREFIX: &str = "antiphon1";

/// Bytes of the hash at the end of a ticket or a file, which shows that none is missing.
pub(super) const CHECK_BYTES: usize = 4;

/// Where a member of the network can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TicketContact {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// A multiaddress of it, as text.
    #[n(1)]
    pub address: String,
}

/// What a ticket says, as it is encoded.
#[derive(Encode, Decode)]
#[cbor(map, context_bound = "crate::model::Share")]
struct Encoded {
    #[n(0)]
    version: u8,
    #[n(4)]
    door: Door,
    #[cbor(n(5), decode_with = "list::<_, _, TICKET_CONTACTS_MAX>")]
    contacts: Vec<TicketContact>,
    #[cbor(n(6), with = "minicbor::bytes")]
    secret: Option<[u8; 32]>,
    #[n(7)]
    pass: Blob,
    #[n(8)]
    charter: Blob,
    #[cbor(n(9), skip_if = "Introduced::is_empty", default)]
    introduced: Introduced,
}

/// All that a machine must know to join a closed network: its charter, its door, whom to ask, and
/// a pass. The pass is that of an invitation, whose key the ticket has, or the newcomer's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The network's charter.
    pub charter: Signed<Charter>,
    /// The network's door.
    pub door: Door,
    /// Nodes to ask, in this order.
    pub contacts: Vec<TicketContact>,
    /// The pass.
    pub pass: Signed<Pass>,
    /// Members and former writers, if the network was open before; none of a usual ticket.
    pub introduced: Introduced,
    /// The key of the invitation; none if the pass is the newcomer's own.
    invite: Option<[u8; 32]>,
}

/// Why a text is no ticket that can be used.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum TicketError {
    /// It does not begin as a ticket does.
    #[error("a ticket begins with `{PREFIX}`")]
    NoTicket,
    /// Characters are missing, or changed.
    #[error("the ticket is cut short or changed")]
    Damaged,
    /// Written by a newer program.
    #[error("the ticket is of version {0}, which this program does not know")]
    Version(u8),
    /// What it says does not fit together.
    #[error("the ticket contradicts itself: {0}")]
    Inconsistent(&'static str),
}

impl Ticket {
    /// A ticket for any newcomer that has it.
    pub fn invitation(
        charter: Signed<Charter>,
        door: Door,
        contacts: Vec<TicketContact>,
        (pass, secret): (Signed<Pass>, [u8; 32]),
    ) -> Self {
        let introduced = Introduced::default();
        Self { charter, door, contacts, pass, introduced, invite: Some(secret) }
    }

    /// A ticket for the key that has the pass.
    pub fn bound(
        charter: Signed<Charter>,
        door: Door,
        contacts: Vec<TicketContact>,
        pass: Signed<Pass>,
    ) -> Self {
        let introduced = Introduced::default();
        Self { charter, door, contacts, pass, introduced, invite: None }
    }

    /// The network.
    pub fn network(&self) -> NetworkId {
        self.charter.terms().network()
    }

    /// Whether any newcomer that has it may use it.
    pub fn is_invitation(&self) -> bool {
        self.invite.is_some()
    }

    /// The claim of a newcomer who uses the invitation; none if the pass is somebody's own.
    pub fn claim(&self, newcomer: &NodeKey, label: &str) -> Option<Signed<Claim>> {
        let invite = NodeKey::from_secret(&self.invite?);
        let claim = Claim::new(self.network(), invite.node(), newcomer.node(), label.to_owned());
        claim.sign(&invite, newcomer).ok()
    }

    /// Whether its parts fit together.
    fn check(&self) -> Result<(), TicketError> {
        let (charter, pass) = (self.charter.terms(), self.pass.terms());
        let fails = |why| Err(TicketError::Inconsistent(why));
        if charter.door != self.door.hash() {
            return fails("its door is not the charter's");
        }
        if pass.network != charter.network() {
            return fails("its pass is for another network");
        }
        if charter.scope_of(&pass.issuer).is_none() {
            return fails("its pass is not signed by an admin");
        }
        match self.invite.map(|secret| NodeKey::from_secret(&secret).node()) {
            Some(invite) if pass.kind != MemberKind::Invite || pass.subject != invite => {
                fails("its invitation is another one")
            }
            None if !matches!(pass.kind, MemberKind::Node | MemberKind::Client) => {
                fails("its pass admits nobody")
            }
            _ => Ok(()),
        }
    }
}

/// The string. It is a secret if it is an invitation.
impl fmt::Display for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = encode_to_bytes(&Encoded {
            version: super::statement::VERSION,
            door: self.door.clone(),
            contacts: self.contacts.clone(),
            secret: self.invite,
            pass: Blob(self.pass.bytes().clone()),
            charter: Blob(self.charter.bytes().clone()),
            introduced: self.introduced.clone(),
        });
        let whole = [&bytes[..], &check_bytes(&bytes)].concat();
        write!(formatter, "{PREFIX}{}", BASE64URL_NOPAD.encode(&whole))
    }
}

/// Without secrets.
impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ticket({}, {:?})", self.charter.terms().name, self.network())
    }
}

pub(super) fn check_bytes(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let hash: [u8; 32] = blake3::hash(bytes).into();
    std::array::from_fn(|at| hash[at])
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(TicketError::NoTicket)?;
        if text.len() > TICKET_BYTES_MAX.div_ceil(3) * 4 {
            return Err(TicketError::Damaged);
        }
        let damaged = |_| TicketError::Damaged;
        let whole = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(damaged)?;
        let (bytes, check) = whole.split_last_chunk::<CHECK_BYTES>().ok_or(TicketError::Damaged)?;
        if *check != check_bytes(bytes) {
            return Err(TicketError::Damaged);
        }
        let encoded: Encoded = decode_exact(&Bytes::copy_from_slice(bytes))
            .map_err(|_malformed| TicketError::Damaged)?;
        if encoded.version != super::statement::VERSION {
            return Err(TicketError::Version(encoded.version));
        }
        if encoded.contacts.iter().any(|contact| contact.address.len() > ADDRESS_BYTES_MAX) {
            return Err(TicketError::Inconsistent("an address is too long"));
        }
        let charter = Signed::verify(encoded.charter.0)
            .map_err(|_error| TicketError::Inconsistent("its charter is not signed"))?;
        let pass = Signed::verify(encoded.pass.0)
            .map_err(|_error| TicketError::Inconsistent("its pass is not signed"))?;
        let ticket = Self {
            charter,
            door: encoded.door,
            contacts: encoded.contacts,
            pass,
            introduced: encoded.introduced,
            invite: encoded.secret,
        };
        ticket.check()?;
        Ok(ticket)
    }
}
