//! The person who manages credentials, and the proof of the admin role.

use crate::id::{ActorId, TenantId};

/// An actor's role in the tenant. The host decides it; for Elation it is the yes/no flag "Practice
/// Admin".
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
    /// The actor's id, as the audit trail records it.
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
    /// The actor's id.
    #[must_use]
    pub fn id(&self) -> &ActorId {
        &self.id
    }

    /// The only tenant for whose credentials this proof is valid.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

/// The actor is signed in and not an admin of their tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only admins of the tenant manage its credentials")]
pub struct NotAdmin;
