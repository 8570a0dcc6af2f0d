//! "The change returned" → "the other node's first right answer", while that node checks all the
//! time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use benches::{Error, admin, create};
use credential_core::{
    Credentials,
    clock::Timestamp,
    manage::{Changed, Expected, ScopeChoice, SetScopes},
};
use serde_json::{Value, json};

use crate::progress;

const SCOPE: &str = "system/patients.read";

/// Keys whose change is still watched for a wrong answer after its bound.
const WATCHED: usize = 8;

struct Watched {
    token: String,
    effective_everywhere_at: Timestamp,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub async fn measure(
    first: &Credentials,
    second: &Credentials,
    changes: usize,
) -> Result<Value, Error> {
    let mut delays: Vec<Duration> = Vec::with_capacity(changes);
    let mut watched: VecDeque<Watched> = VecDeque::new();
    let (mut checks, mut late_wrong) = (0_u64, 0_u64);
    for n in 0..changes {
        progress(n, changes, "changes");
        let created = create(first, format!("key {n}")).await?;
        let client = first
            .authenticate(
                created.credential.client_id.as_str(),
                created.client_secret.expose_secret(),
            )
            .await?;
        let issued = first.issue(&client, None)?;
        let token = issued.access_token.expose_secret().to_owned();
        if !may_read(second, &token).await? {
            return Err("a live token was refused".into());
        }

        let id = created.credential.id;
        let outcome: Changed = if n % 2 == 0 {
            first.revoke(&admin(), id, None).await?
        } else {
            let nothing = SetScopes {
                choice: Some(ScopeChoice::Named(Vec::new())),
                api_type: None,
                faults: Vec::new(),
            };
            first
                .set_scopes(&admin(), id, Some(&Expected::Any), nothing)
                .await?
        };
        let returned = Instant::now();
        if may_read(first, &token).await? {
            return Err("the changing node gave a stale yes".into());
        }
        while may_read(second, &token).await? {
            checks += 1;
            tokio::task::yield_now().await;
        }
        delays.push(returned.elapsed());

        watched.push_back(Watched {
            token,
            effective_everywhere_at: outcome.effective_everywhere_at,
        });
        if watched.len() > WATCHED {
            watched.pop_front();
        }
        for one in &watched {
            let began = second.clock().now();
            checks += 1;
            if may_read(second, &one.token).await? && began >= one.effective_everywhere_at {
                late_wrong += 1;
            }
        }
    }
    delays.sort_unstable();
    let at = |share: usize| {
        let index = (delays.len() * share / 1000).min(delays.len().saturating_sub(1));
        delays.get(index).map(|delay| delay.as_secs_f64() * 1000.0)
    };
    Ok(json!({
        "changes": changes,
        "checks_on_the_other_node": checks,
        "p50_ms": at(500),
        "p99_ms": at(990),
        "max_ms": at(1000),
        "wrong_after_effective_everywhere_at": late_wrong,
    }))
}

async fn may_read(node: &Credentials, token: &str) -> Result<bool, Error> {
    match node.verify(token).await {
        Ok(access) => Ok(access.has_scope(SCOPE)),
        Err(credential_core::authorize::AuthorizeError::Refused(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
