//! "The change returned" → "the other node's first right answer", while that node checks all the
//! time.

use std::{collections::VecDeque, time::Duration};

use benches::{
    Error,
    fixture::{Client, SCOPE, admin},
    measure::{Samples, now},
    report::{Budget, Line, Unit, progress_of},
};
use credential_core::{
    Credentials,
    authorize::AuthorizeError,
    clock::Timestamp,
    manage::{Changed, Expected, ScopeChoice, SetScopes},
};
use serde_json::{Value, json};

use crate::Node;

/// Keys whose change is still watched for a wrong answer after its bound.
const WATCHED: usize = 8;

struct Watched {
    token: String,
    effective_everywhere_at: Timestamp,
}

pub struct Propagation {
    /// Milliseconds.
    delays: Samples,
    checks: u64,
    late_wrong: u32,
}

/// Each change waits for its share of `spread`. Otherwise every change would directly follow a catch-up
/// of the other node, because the change before it was seen at a catch-up.
pub async fn measure(
    first: &Node,
    second: &Node,
    changes: usize,
    spread: Duration,
) -> Result<Propagation, Error> {
    let (first, second) = (&first.credentials, &second.credentials);
    let mut delays: Vec<Duration> = Vec::with_capacity(changes);
    let mut watched: VecDeque<Watched> = VecDeque::new();
    let (mut checks, mut late_wrong) = (0, 0);
    for n in 0..changes {
        progress_of("changes", n, changes);
        let name = format!("key {n} of {changes}");
        let client = Client::create(first, name, &[SCOPE]).await?;
        let token = client.tokens(first, 1, None).await?.remove(0);
        if !may_read(second, &token).await? {
            return Err("a live token was refused".into());
        }

        // Coprime, so that the shares are spread evenly, in no order.
        tokio::time::sleep(spread * u32::try_from(n * 37 % 100)? / 100).await;
        let outcome: Changed = if n % 2 == 0 {
            first.manage(&admin()).revoke(client.id, None).await?
        } else {
            set_scopes(first, &client, &[]).await?
        };
        let returned = now();
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
    let millis = |delay: Duration| delay.as_secs_f64() * 1e3;
    Ok(Propagation {
        delays: Samples::new(delays.into_iter().map(millis).collect()),
        checks,
        late_wrong,
    })
}

impl Propagation {
    pub fn json(&self) -> Value {
        json!({
            "changes": self.delays.len(),
            "checks_on_the_other_node": self.checks,
            "p50_ms": self.delays.median(),
            "p99_ms": self.delays.percentile(0.99),
            "max_ms": self.delays.percentile(1.0),
            "wrong_after_effective_everywhere_at": self.late_wrong,
        })
    }

    pub fn json_without_listen(&self) -> Value {
        json!({
            "changes_without_listen": self.delays.len(),
            "p50_ms": self.delays.median(),
            "p99_ms": self.delays.percentile(0.99),
            "max_ms": self.delays.percentile(1.0),
            "wrong_after_effective_everywhere_at": self.late_wrong,
        })
    }

    pub fn lines(&self) -> [Line; 3] {
        let what = |what: &str| format!("{what}/changes={}", self.delays.len());
        let p99 = self.delays.percentile(0.99);
        let wrong = f64::from(self.late_wrong);
        [
            self.p50(
                "N1",
                what("change → other node's first right answer, p50"),
                5.0,
            ),
            Line::new("N1", what("  p99"), p99 * 1e6, Unit::Nanos)
                .within(Budget::at_most(50e6, Unit::Nanos)),
            Line::count(
                "N1",
                "  wrong after effective_everywhere_at",
                wrong,
                "answers",
                0.0,
            ),
        ]
    }

    pub fn line_without_listen(&self) -> Line {
        let what = format!("the same without LISTEN, p50/changes={}", self.delays.len());
        self.p50("N3", what, 250.0)
    }

    fn p50(&self, id: &'static str, what: String, most_ms: f64) -> Line {
        Line::new(id, what, self.delays.median() * 1e6, Unit::Nanos)
            .within(Budget::at_most(most_ms * 1e6, Unit::Nanos))
    }
}

/// Sets a client's scopes as an admin of a node.
pub async fn set_scopes(
    node: &Credentials,
    client: &Client,
    scopes: &[&str],
) -> Result<Changed, Error> {
    let names = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let request = SetScopes {
        choice: ScopeChoice::Named(names).into(),
        ..SetScopes::default()
    };
    Ok(node
        .manage(&admin())
        .set_scopes(client.id, Some(&Expected::Any), request)
        .await?)
}

async fn may_read(node: &Credentials, token: &str) -> Result<bool, Error> {
    match node.verify(token).await {
        Ok(access) => Ok(access.has_scope(SCOPE)),
        Err(AuthorizeError::Refused(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
