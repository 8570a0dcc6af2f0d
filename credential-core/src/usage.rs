//! How credentials are used: counted in memory on the hot path, written to the store in batches, never a
//! write per request.
//!
//! | file | holds |
//! | --- | --- |
//! | `usage/slot.rs` | the counter of one token, beside what a check reads |
//! | `usage/cells.rs` | counters of one credential by needed scopes: atomics, no lock |
//! | `usage/needed.rs` | which scopes a call needed, as one number |
//! | `usage/notes.rs` | the latest use of each proof, and the log of all of this node's counters |
//! | `usage/rare.rs` | counts that do not fit the counters |
//! | `usage/refusals.rs` | refusals, merged and bounded |
//! | `usage/pending.rs` | what was counted and is not in a batch yet, bounded |
//! | `usage/flush.rs` | batches, each until the store has it |

mod cells;
mod flush;
mod needed;
mod notes;
mod pending;
mod rare;
mod refusals;
mod slot;

pub use self::refusals::RefusalReason;
pub(crate) use self::{
    flush::{Flushed, prune},
    needed::ScopeRef,
    notes::{NEVER, ProofUse, UseLog, is_later, needed_by},
    refusals::{Method, Refused, neighbourhood},
    slot::Slot,
};
