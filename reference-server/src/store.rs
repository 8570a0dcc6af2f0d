//! The store that the configuration chooses.

use credential_core::store::Stores;
use credential_store_memory::MemoryStore;
use credential_store_postgres::{ListenerState, PostgresStore};

use crate::{
    config::Database,
    database::{self, DatabaseError},
};

/// Where credentials are kept.
#[derive(Debug, Clone)]
pub enum Store {
    Memory(MemoryStore),
    Postgres(PostgresStore),
}

impl Store {
    /// # Errors
    /// [`DatabaseError`] says why PostgreSQL cannot be used.
    pub async fn open(database: Option<Database>) -> Result<Self, DatabaseError> {
        Ok(match database {
            None => Self::Memory(MemoryStore::new()),
            Some(database) => Self::Postgres(database::wait_and_open(database).await?),
        })
    }

    pub fn shared(&self) -> Stores {
        match self {
            Self::Memory(store) => store.clone().into(),
            Self::Postgres(store) => store.clone().into(),
        }
    }

    /// In the details of `/readyz`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Postgres(_) => "postgresql",
        }
    }

    /// Whether other nodes' changes wake this one; `None` where there are none.
    pub fn listener(&self) -> Option<ListenerState> {
        match self {
            Self::Memory(_) => None,
            Self::Postgres(store) => Some(store.listener_state()),
        }
    }
}
