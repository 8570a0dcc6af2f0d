//! When credentials and their proofs were last used: noted in memory on the hot path, written to
//! the store in batches, never a write per request.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use crate::{
    clock::Timestamp,
    credential::Credential,
    id::{CredentialId, ProofId},
    store::{LastUse, MAX_USES, StoreError, UsageStore},
};

/// The least distance between two noted uses, in microseconds. Without it, threads that check one
/// busy credential would contend for its cache line.
const RESOLUTION: i64 = 1_000_000;

/// Whether a use is late enough after the noted one to be noted.
#[inline]
pub(crate) fn is_later(at: i64, noted: i64) -> bool {
    at >= noted.saturating_add(RESOLUTION)
}

/// One proof's latest use on this node.
#[derive(Debug)]
pub(crate) struct UseNote {
    credential_id: CredentialId,
    proof: ProofId,
    /// Microseconds since the Unix epoch; [`NEVER`] until the first use.
    noted: AtomicI64,
    /// What the store knows of it, from this node.
    flushed: AtomicI64,
}

/// No use at all, as a number of microseconds.
pub(crate) const NEVER: i64 = i64::MIN;

impl UseNote {
    /// Notes a use; no lock, no allocation.
    #[inline]
    pub(crate) fn note(&self, at: Timestamp) {
        let at = at.as_micros();
        let noted = self.noted.load(Ordering::Relaxed);
        if is_later(at, noted) {
            self.noted.fetch_max(at, Ordering::Relaxed);
        }
    }

    /// The use that the store does not know of yet.
    fn pending(&self) -> Option<LastUse> {
        let noted = self.noted.load(Ordering::Relaxed);
        (noted > self.flushed.load(Ordering::Relaxed)).then(|| LastUse {
            credential_id: self.credential_id,
            proof: self.proof,
            at: Timestamp::from_micros(noted),
        })
    }
}

/// All notes of this node, so that they outlive the cached state that points to them.
#[derive(Debug, Default)]
pub(crate) struct UseLog {
    notes: Mutex<HashMap<ProofId, Arc<UseNote>>>,
}

impl UseLog {
    /// The notes of a credential's secrets, in their order.
    pub(crate) fn notes_of(&self, credential: &Credential) -> Vec<Arc<UseNote>> {
        let mut notes = self.lock();
        let mut note = |proof: ProofId| {
            Arc::clone(notes.entry(proof).or_insert_with(|| {
                Arc::new(UseNote {
                    credential_id: credential.identity.id,
                    proof,
                    noted: AtomicI64::new(NEVER),
                    flushed: AtomicI64::new(NEVER),
                })
            }))
        };
        let secrets = &credential.settings.secrets;
        secrets.iter().map(|it| note(it.selector)).collect()
    }

    /// Writes the notes that the store does not have yet. Notes that fail stay for the next time.
    /// Without a store they are dropped.
    ///
    /// # Errors
    /// The store's error for a batch.
    pub(crate) async fn flush(&self, store: Option<&dyn UsageStore>) -> Result<usize, StoreError> {
        let pending: Vec<(Arc<UseNote>, LastUse)> = {
            let mut notes = self.lock();
            // A flushed note that nobody else holds can be removed.
            notes.retain(|_, note| Arc::strong_count(note) > 1 || note.pending().is_some());
            let pending = notes
                .values()
                .filter_map(|note| Some((Arc::clone(note), note.pending()?)));
            pending.collect()
        };
        for batch in pending.chunks(MAX_USES) {
            let uses: Vec<LastUse> = batch.iter().map(|(_, last)| *last).collect();
            if let Some(store) = store {
                store.record(&uses).await?;
            }
            for (note, last) in batch {
                note.flushed
                    .fetch_max(last.at.as_micros(), Ordering::Relaxed);
            }
        }
        Ok(pending.len())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProofId, Arc<UseNote>>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
