//! Who manages credentials, and the proof that they may.

use crate::id::{ActorId, TenantId};

/// What an actor may do in their tenant. The host decides; for Elation it is the yes/no flag
/// "Practice Admin".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// May manage the tenant's credentials.
    Admin,
    /// Belongs to the tenant, and may not manage credentials.
    Member,
}

/// The person who manages credentials, as the host's sign-in knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Who: written to the audit trail.
    pub id: ActorId,
    /// The tenant they act in. An actor sees nothing of any other.
    pub tenant: TenantId,
    /// Their role in that tenant.
    pub role: Role,
}

impl Actor {
    /// The proof that management use cases ask for.
    ///
    /// # Errors
    /// [`NotAdmin`] for every role but [`Role::Admin`].
    pub fn admin(&self) -> Result<TenantAdmin, NotAdmin> {
        match self.role {
            Role::Admin => Ok(TenantAdmin {
                id: self.id.clone(),
                tenant: self.tenant.clone(),
            }),
            Role::Member => Err(NotAdmin),
        }
    }
}

/// An actor whose admin role was checked.
///
/// Only [`Actor::admin`] makes one, so a use case that takes it cannot be called without the
/// check:
///
/// ```compile_fail
/// # use credential_core::{actor::TenantAdmin, id::{ActorId, TenantId}};
/// fn forge(id: ActorId, tenant: TenantId) -> TenantAdmin {
///     TenantAdmin { id, tenant } // private fields
/// }
/// ```
#[derive(Debug, Clone)]
pub struct TenantAdmin {
    id: ActorId,
    tenant: TenantId,
}

impl TenantAdmin {
    /// Who acts.
    #[must_use]
    pub fn id(&self) -> &ActorId {
        &self.id
    }

    /// The only tenant whose credentials this proof opens.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

/// The actor is signed in and not an admin of their tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only admins of the tenant manage its credentials")]
pub struct NotAdmin;
