//! Refuses calls that were meant for another tenant than the signed-in one.
//!
//! People sign in to a second tenant in another tab and share one session with the first. A page
//! sends the mark that it was given for its tenant with every call, so that such a call changes nothing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use credential_core::id::TenantId;
use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use crate::problem::Problem;

/// Names the tenant that a call was made for.
pub(crate) const EXPECTED_TENANT: &str = "x-expected-tenant";

/// What a page of `tenant` sends as `X-Expected-Tenant`.
///
/// Why without a key: only the tenant's own admins get the value, and a forged one gives no access,
/// because the check only refuses. Without a key it is the same on every node, also after a
/// rotation.
pub(crate) fn mark(tenant: &TenantId) -> String {
    let digest = Sha256::new()
        .chain_update("credential-axum/expected-tenant/v1\0")
        .chain_update(tenant.as_str())
        .finalize();
    let (mark, _) = digest.split_at(16);
    URL_SAFE_NO_PAD.encode(mark)
}

/// Passes calls for `tenant`, and calls that name none, as those of programs.
pub(crate) fn refuse_other_tenant(headers: &HeaderMap, tenant: &TenantId) -> Result<(), Problem> {
    let expected = mark(tenant);
    let mut sent = headers.get_all(EXPECTED_TENANT).iter();
    if sent.all(|sent| sent.as_bytes() == expected.as_bytes()) {
        Ok(())
    } else {
        Err(Problem::tenant_changed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_the_same_on_every_node_and_tells_tenants_apart() {
        let [alder, birch] = ["alder", "birch"].map(|name| mark(&name.parse().unwrap()));
        assert_eq!(alder, "CHM1S4CpbjA1vzpsdE72oA");
        assert_ne!(alder, birch);
        assert!(!alder.contains("alder"));
    }
}
