//! A pause before "too many requests" is answered.

use std::time::Duration;

/// A caller is told to come back in a second at the earliest.
const HELD_FOR: Duration = Duration::from_secs(1);

/// Holds a refusal back. A caller that repeats its requests at once would otherwise be refused as
/// often as the processor allows, and everybody else would wait for that. A request that is carried
/// out is never held.
pub(crate) async fn hold() {
    tokio::time::sleep(HELD_FOR).await;
}
