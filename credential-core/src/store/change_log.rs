//! The log of what changed, and the heartbeats of the nodes that follow it.

use std::{sync::Arc, time::Duration};

use crate::id::{CredentialId, TenantId};

/// How long the change log keeps a row; a node that was away longer starts anew.
pub const CHANGES_KEPT_FOR: Duration = Duration::from_secs(3600);

/// The most changes that a node asks of one [`catch_up`](super::CredentialStore::catch_up); a node that is further
/// behind starts anew, which costs it one read per credential in use.
pub const MAX_CHANGES: usize = 10_000;

/// How long after its latest heartbeat a node counts as alive, for the comparison of issuers: longer than
/// its longest pause between two.
pub const NODE_ALIVE_FOR: Duration = Duration::from_secs(10);

/// A change that is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the method returns.
    pub value: T,
    /// The change; where nothing changed, the latest one that was decided on.
    pub change: ChangeId,
}

/// A value read together with the latest change, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf<T> {
    /// What was read.
    pub value: T,
    /// Every change up to and including this one is in it, and none after.
    pub upto: ChangeId,
}

/// The identity of a change: its place in the log, and a mark that distinguishes it from a change
/// that had the same place in a lost history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ChangeId {
    /// The place. 0: before the first change.
    pub number: u64,
    /// Drawn by the store for this change alone.
    pub mark: Mark,
}

impl ChangeId {
    /// The log's next row, behind this one.
    #[must_use]
    pub fn next(self, mark: Mark, change: Change) -> LoggedChange {
        LoggedChange {
            id: Self {
                number: self.number + 1,
                mark,
            },
            previous: self.mark,
            change,
        }
    }
}

/// Distinguishes a change from every other, also of other histories of the same store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(pub [u8; 16]);

/// What changed, as far as checks are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Change {
    /// One credential, its secrets or its revoked tokens.
    Credential(CredentialId),
    /// Any credential of a tenant.
    Tenant(TenantId),
    /// Anything.
    Everything,
}

/// A row of the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LoggedChange {
    /// Which change.
    pub id: ChangeId,
    /// The mark of the change before it.
    pub previous: Mark,
    /// What changed.
    pub change: Change,
}

/// A node's heartbeat.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// The node, drawn anew at each start.
    pub node: NodeId,
    /// The latest change that the node has applied; `None`: it starts anew.
    pub applied: Option<ChangeId>,
    /// How many changes the answer may list. Core asks for [`MAX_CHANGES`].
    pub max_changes: usize,
    /// How long the node's cache may answer after its last proof.
    pub max_staleness: Duration,
    /// The node's issuer. Tokens are bound to it, so the nodes of a deployment must agree.
    pub issuer: Arc<str>,
}

impl Heartbeat {
    /// The answer, with the latest change, the rows behind `applied` that are known, in order and at most
    /// `max_changes`, and the largest bound among the nodes. A store with a clock sets [`Changes::waited`].
    #[must_use]
    pub fn answer(&self, upto: ChangeId, rows: Vec<LoggedChange>, largest: Duration) -> Changes {
        let missing = self
            .applied
            .and_then(|it| upto.number.checked_sub(it.number));
        Changes {
            upto,
            items: (missing == Some(rows.len() as u64)).then_some(rows),
            waited: Duration::ZERO,
            largest_max_staleness: largest,
        }
    }
}

/// A running process, for as long as it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub [u8; 16]);

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The latest change.
    pub upto: ChangeId,
    /// The rows after the applied number, in order. `None`: no longer known, more than
    /// [`Heartbeat::max_changes`], or not asked for (the node starts anew). Whether they follow on what the
    /// node has applied is the node's to decide, by the marks.
    pub items: Option<Vec<LoggedChange>>,
    /// How long ago the oldest of `items` was made, by the store's own clock; zero if there are none
    /// or the store has no clock. For metrics only.
    pub waited: Duration,
    /// The largest `max_staleness` among the nodes that are alive, this one included.
    pub largest_max_staleness: Duration,
}
