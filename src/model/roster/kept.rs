//! What a machine keeps of the closed network that it belongs to: the file `network`.
//!
//! It is a map, and the first bytes of its hash. So a file that was cut short is no such file.

use std::fmt;

use bytes::Bytes;
use minicbor::{Decode, Encode};
use thiserror::Error;

use super::{
    any::Statement,
    charter::{Admin, Charter, Door, NetworkId},
    introduced::Introduced,
    pass::{Claim, MemberKind, Pass},
    statement::{Signed, StatementError, VERSION, list},
    ticket::{CHECK_BYTES, Ticket, TicketContact, check_bytes},
};
use crate::{
    limits::{ADDRESS_BYTES_MAX, INTRODUCED_MAX, KEPT_BYTES_MAX, TICKET_CONTACTS_MAX},
    model::{Blob, Network, NodeId, NodeKey, WallClock, decode_exact, encode_to_bytes},
};

/// Why somebody belongs to a network: its own pass, or that of an invitation and its claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pass: Signed<Pass>,
    claim: Option<Signed<Claim>>,
}

impl Credentials {
    /// Its own pass.
    ///
    /// # Errors
    /// When the pass admits nobody.
    pub fn own(pass: Signed<Pass>) -> Result<Self, KeptError> {
        match pass.terms().kind {
            MemberKind::Node | MemberKind::Client => Ok(Self { pass, claim: None }),
            MemberKind::Invite | MemberKind::Former => {
                Err(KeptError::Inconsistent("its pass admits nobody"))
            }
        }
    }

    /// The pass of an invitation, and the claim of who uses it.
    ///
    /// # Errors
    /// When they are not about the same invitation.
    pub fn claimed(pass: Signed<Pass>, claim: Signed<Claim>) -> Result<Self, KeptError> {
        let (of_pass, of_claim) = (pass.terms(), claim.terms());
        let is_one = of_pass.subject == of_claim.invite && of_pass.network == of_claim.network;
        if of_pass.kind == MemberKind::Invite && is_one {
            Ok(Self { pass, claim: Some(claim) })
        } else {
            Err(KeptError::Inconsistent("its claim is on another invitation"))
        }
    }

    /// Who belongs to the network by them.
    pub fn subject(&self) -> NodeId {
        match &self.claim {
            Some(claim) => claim.terms().subject,
            None => self.pass.terms().subject,
        }
    }

    /// The network.
    pub fn network(&self) -> NetworkId {
        self.pass.terms().network
    }

    /// Its own pass, or that of the invitation.
    pub fn pass(&self) -> &Signed<Pass> {
        &self.pass
    }

    /// The claim, if it used an invitation.
    pub fn claim(&self) -> Option<&Signed<Claim>> {
        self.claim.as_ref()
    }

    /// All of it, in an order in which a roster accepts it.
    pub fn statements(&self) -> Vec<Statement> {
        let claim = self.claim.clone().map(Statement::Claim);
        std::iter::once(Statement::Pass(self.pass.clone())).chain(claim).collect()
    }
}

/// All that a machine keeps of its closed network.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// The charter, as it was when this was written.
    pub charter: Signed<Charter>,
    /// The network's door.
    pub door: Door,
    /// Why this machine belongs to it.
    pub own: Credentials,
    /// Nodes to join through.
    pub contacts: Vec<TicketContact>,
    /// Members and former writers, if the network was open before.
    pub introduced: Introduced,
}

/// Why bytes or a ticket are not what a machine can keep.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum KeptError {
    /// Bytes are missing, or changed.
    #[error("it is cut short or changed")]
    Damaged,
    /// Written by a newer program.
    #[error("it is of version {0}, which this program does not know")]
    Version(u8),
    /// A statement in it does not hold.
    #[error("{0}")]
    Statement(#[from] StatementError),
    /// What it says does not fit together.
    #[error("it contradicts itself: {0}")]
    Inconsistent(&'static str),
    /// The ticket is for another key.
    #[error("the ticket is for {0} alone")]
    OtherKey(NodeId),
    /// A ticket has no room for them.
    #[error("it has more than {INTRODUCED_MAX} nodes and writers")]
    TooManyIntroduced,
}

/// What is kept, as it is encoded.
#[derive(Encode, Decode)]
#[cbor(map, context_bound = "crate::model::Share")]
struct Encoded {
    #[n(0)]
    version: u8,
    #[n(1)]
    charter: Blob,
    #[n(2)]
    door: Door,
    #[n(3)]
    pass: Blob,
    #[n(4)]
    claim: Option<Blob>,
    #[cbor(n(5), decode_with = "list::<_, _, TICKET_CONTACTS_MAX>")]
    contacts: Vec<TicketContact>,
    #[cbor(n(6), skip_if = "Introduced::is_empty", default)]
    introduced: Introduced,
}

impl Kept {
    /// What the first node of a new network keeps: a first charter with one admin, and a pass that
    /// this admin signed.
    ///
    /// # Errors
    /// When the label is too long.
    pub fn found(
        name: Network,
        (root, admin): (&NodeKey, &NodeKey),
        door: Door,
        (node, label): (NodeId, &str),
        now: WallClock,
    ) -> Result<Self, KeptError> {
        let admins = vec![Admin { key: admin.node(), scope: ">".parse().expect("a pattern") }];
        let charter = Charter::first(name, root.node(), admins, &door).sign(root)?;
        let network = charter.terms().network();
        let pass = Pass::new(network, (node, MemberKind::Node), admin.node(), now);
        let pass = Pass { label: label.to_owned(), ..pass }.sign(admin)?;
        let (own, contacts) = (Credentials::own(pass)?, Vec::new());
        Ok(Self { charter, door, own, contacts, introduced: Introduced::default() })
    }

    /// What a machine keeps that joins with a ticket.
    ///
    /// # Errors
    /// When the ticket is for another key, or the label is too long.
    pub fn join(ticket: &Ticket, key: &NodeKey, label: &str) -> Result<Self, KeptError> {
        let pass = ticket.pass.clone();
        let own = if ticket.is_invitation() {
            let claim = ticket.claim(key, label);
            let claim = claim.ok_or(StatementError::Malformed("the label cannot be used"))?;
            Credentials::claimed(pass, claim)?
        } else if pass.terms().subject == key.node() {
            Credentials::own(pass)?
        } else {
            return Err(KeptError::OtherKey(pass.terms().subject));
        };
        let (charter, door) = (ticket.charter.clone(), ticket.door.clone());
        // The same nodes are in the tickets of all.
        let others = ticket.contacts.iter().filter(|contact| contact.node != own.subject());
        let (contacts, introduced) = (others.cloned().collect(), ticket.introduced.clone());
        Ok(Self { charter, door, own, contacts, introduced })
    }

    /// The network.
    pub fn network(&self) -> NetworkId {
        self.charter.terms().network()
    }

    /// Its bytes in the file. They are a secret.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = encode_to_bytes(&Encoded {
            version: VERSION,
            charter: Blob(self.charter.bytes().clone()),
            door: self.door.clone(),
            pass: Blob(self.own.pass.bytes().clone()),
            claim: self.own.claim.as_ref().map(|claim| Blob(claim.bytes().clone())),
            contacts: self.contacts.clone(),
            introduced: self.introduced.clone(),
        });
        [&bytes[..], &check_bytes(&bytes)].concat()
    }

    /// Decodes what a file has, and verifies all that was signed.
    ///
    /// # Errors
    /// When anything in it is wrong.
    pub fn decode(whole: &Bytes) -> Result<Self, KeptError> {
        if whole.len() > KEPT_BYTES_MAX {
            return Err(KeptError::Damaged);
        }
        let (bytes, check) = whole.split_last_chunk::<CHECK_BYTES>().ok_or(KeptError::Damaged)?;
        if *check != check_bytes(bytes) {
            return Err(KeptError::Damaged);
        }
        let bytes = whole.slice(..whole.len() - CHECK_BYTES);
        let encoded: Encoded = decode_exact(&bytes).map_err(|_malformed| KeptError::Damaged)?;
        if encoded.version != VERSION {
            return Err(KeptError::Version(encoded.version));
        }
        if encoded.contacts.iter().any(|contact| contact.address.len() > ADDRESS_BYTES_MAX) {
            return Err(KeptError::Inconsistent("an address is too long"));
        }
        let pass = Signed::verify(encoded.pass.0)?;
        let own = match encoded.claim {
            Some(claim) => Credentials::claimed(pass, Signed::verify(claim.0)?)?,
            None => Credentials::own(pass)?,
        };
        let charter: Signed<Charter> = Signed::verify(encoded.charter.0)?;
        if charter.terms().door != encoded.door.hash() {
            return Err(KeptError::Inconsistent("its door is not the charter's"));
        }
        if own.network() != charter.terms().network() {
            return Err(KeptError::Inconsistent("its pass is for another network"));
        }
        let Encoded { door, contacts, introduced, .. } = encoded;
        Ok(Self { charter, door, own, contacts, introduced })
    }
}

/// Without secrets.
impl fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Kept")
            .field("name", &self.charter.terms().name)
            .field("network", &self.network())
            .field("own", &self.own)
            .field("contacts", &self.contacts)
            .finish_non_exhaustive()
    }
}
