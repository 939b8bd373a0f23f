//! Passes, which admit members, and claims, by which a newcomer uses an invitation.

use minicbor::{Decode, Encode};

use super::{
    charter::NetworkId,
    rights::Grant,
    statement::{Signed, StatementError, Terms, VERSION, check_text, list},
};
use crate::{
    limits::{GRANTS_MAX, LABEL_BYTES_MAX, PASS_GROUPS_MAX, TURNS_MAX},
    model::{NodeId, NodeKey, WallClock},
};

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum MemberKind {
    /// A node.
    #[n(0)]
    Node,
    /// A client.
    #[n(1)]
    Client,
    /// Nobody yet: a newcomer that has the key of the invitation becomes a member.
    #[n(2)]
    Invite,
    /// A node that is gone, whose records count.
    #[n(3)]
    Former,
}

/// The public half of a key to encrypt for a member (X25519).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct EncryptionKey(#[cbor(with = "minicbor::bytes")] pub [u8; 32]);

/// How an invitation may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Invitation {
    /// What those become who use it: nodes or clients.
    #[n(0)]
    pub admits: MemberKind,
    /// How many may use it.
    #[n(1)]
    pub uses: u32,
    /// When the membership of those ends; never if this is none.
    #[n(2)]
    pub until: Option<WallClock>,
}

/// Says that a key belongs to the network, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pass {
    /// Version of this encoding.
    #[n(0)]
    pub(super) version: u8,
    /// The network.
    #[n(1)]
    pub network: NetworkId,
    /// The member, or the key of an invitation.
    #[n(2)]
    pub subject: NodeId,
    /// Counts how often the member was admitted again. Of two passes the higher turn holds.
    #[n(3)]
    pub turn: u32,
    /// What the member is.
    #[n(4)]
    pub kind: MemberKind,
    /// A name for people.
    #[n(5)]
    pub label: String,
    /// To encrypt for the member.
    #[n(6)]
    pub encryption_key: Option<EncryptionKey>,
    /// What it may do. If there are none, what the charter says.
    #[cbor(n(7), decode_with = "list::<_, _, GRANTS_MAX>")]
    pub grants: Vec<Grant>,
    /// When the pass was signed.
    #[n(8)]
    pub issued: WallClock,
    /// When it ends; never if this is none.
    #[n(9)]
    pub expires: Option<WallClock>,
    /// How an invitation may be used; none in every other pass.
    #[n(10)]
    pub invitation: Option<Invitation>,
    /// The admin who signed it.
    #[n(11)]
    pub issuer: NodeId,
    /// Groups of members that it is in. Lists of topics may name groups.
    #[cbor(n(12), decode_with = "list::<_, _, PASS_GROUPS_MAX>")]
    pub groups: Vec<String>,
}

impl Pass {
    /// A pass of turn 0 that never ends, with what the charter grants.
    pub fn new(
        network: NetworkId,
        (subject, kind): (NodeId, MemberKind),
        issuer: NodeId,
        issued: WallClock,
    ) -> Self {
        Self {
            version: VERSION,
            network,
            subject,
            turn: 0,
            kind,
            label: String::new(),
            encryption_key: None,
            grants: Vec::new(),
            issued,
            expires: None,
            invitation: None,
            issuer,
            groups: Vec::new(),
        }
    }

    /// Signs the pass with the admin's key.
    ///
    /// # Errors
    /// When a field is out of bounds.
    pub fn sign(self, admin: &NodeKey) -> Result<Signed<Self>, StatementError> {
        Signed::sign(self, &[admin])
    }
}

impl Terms for Pass {
    const DOMAIN: &'static str = "antiphon/pass/1";

    fn check(&self) -> Result<(), StatementError> {
        check_text(&self.label, LABEL_BYTES_MAX)?;
        self.groups.iter().try_for_each(|group| check_text(group, LABEL_BYTES_MAX))?;
        if self.grants.len() > GRANTS_MAX || self.groups.len() > PASS_GROUPS_MAX {
            return Err(StatementError::Malformed("a list is too long"));
        }
        if self.turn > TURNS_MAX {
            return Err(StatementError::Malformed("counted too far"));
        }
        match (self.kind, self.invitation) {
            (MemberKind::Invite, Some(Invitation { admits, uses, .. })) => {
                let is_member = matches!(admits, MemberKind::Node | MemberKind::Client);
                let is_right = is_member && uses > 0 && self.encryption_key.is_none();
                is_right.then_some(()).ok_or(StatementError::Malformed("no such invitation"))
            }
            (MemberKind::Invite, None) | (_, Some(_)) => {
                Err(StatementError::Malformed("only an invitation says how it is used"))
            }
            _ => Ok(()),
        }
    }

    fn signers(&self) -> Vec<NodeId> {
        vec![self.issuer]
    }
}

impl Signed<Pass> {
    /// Whether this replaces `other`, of the same member: the higher turn, then the later one, then
    /// the smaller hash.
    pub fn supersedes(&self, other: &Self) -> bool {
        let rank =
            |pass: &Self| (pass.terms().turn, pass.terms().issued, std::cmp::Reverse(pass.hash()));
        rank(self) > rank(other)
    }
}

/// Says that a newcomer uses an invitation. The invitation's key and its own key sign it. It counts
/// as a pass of turn 0 with the grants of the invitation.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Claim {
    /// Version of this encoding.
    #[n(0)]
    pub(super) version: u8,
    /// The network.
    #[n(1)]
    pub network: NetworkId,
    /// The key of the invitation.
    #[n(2)]
    pub invite: NodeId,
    /// The newcomer.
    #[n(3)]
    pub subject: NodeId,
    /// To encrypt for the newcomer.
    #[n(4)]
    pub encryption_key: Option<EncryptionKey>,
    /// A name for people.
    #[n(5)]
    pub label: String,
}

impl Claim {
    /// The claim of a newcomer.
    pub fn new(network: NetworkId, invite: NodeId, subject: NodeId, label: String) -> Self {
        Self { version: VERSION, network, invite, subject, encryption_key: None, label }
    }

    /// Signs the claim with the key of the invitation and the newcomer's.
    ///
    /// # Errors
    /// When a field is out of bounds.
    pub fn sign(self, invite: &NodeKey, subject: &NodeKey) -> Result<Signed<Self>, StatementError> {
        Signed::sign(self, &[invite, subject])
    }
}

impl Terms for Claim {
    const DOMAIN: &'static str = "antiphon/claim/1";

    fn check(&self) -> Result<(), StatementError> {
        check_text(&self.label, LABEL_BYTES_MAX)
    }

    fn signers(&self) -> Vec<NodeId> {
        vec![self.invite, self.subject]
    }
}
