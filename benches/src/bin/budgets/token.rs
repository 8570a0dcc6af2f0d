//! P6 and P7: issuing a token, and a token's first sight on a node.

use std::{cell::Cell, hint::black_box};

use benches::{
    Error,
    fixture::{Client, Deployment},
    measure::{in_turn, nanos_each, now, ready},
    report::{Budget, Line, Report, Unit, progress},
};
use credential_core::testing;

use crate::Options;

/// Tokens in one slice of first sights.
const SIGHTS: usize = 500;

pub async fn measure(options: &Options, report: &mut Report) -> Result<(), Error> {
    let deployment = Deployment::without_hashing()?;
    let node = &deployment.node;
    let running = node.start().await?;
    let names = deployment.ten_scopes()?;
    let held: Vec<_> = names.split(' ').collect();
    let client = Client::create(node, "key".to_owned(), &held).await?;
    let authenticated = node.authenticate(&client.client_id, &client.secret).await?;

    let issue = |scope: Option<&str>| {
        let issued = node.issue(&authenticated, black_box(scope));
        issued.map(|issued| issued.access_token.expose_secret().to_owned())
    };
    let failed = Cell::new(false);
    let issues = |scope| {
        nanos_each(5, 100, || {
            failed.set(failed.get() | node.issue(&authenticated, scope).is_err());
        })
    };
    let new_tokens = |scope| {
        (0..SIGHTS)
            .filter_map(|_| issue(scope).ok())
            .collect::<Vec<_>>()
    };
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    let sights = |scope, see: &dyn Fn(&str) -> bool| {
        let tokens = new_tokens(scope);
        let began = now();
        for token in &tokens {
            failed.set(failed.get() | !see(token));
        }
        began.elapsed().as_nanos() as f64 / tokens.len() as f64
    };
    let verify = |token: &str| ready(node.verify(token)).is_ok();
    let open = |token: &str| testing::opens(node, token);

    progress("issue and first sights, in turn with opening alone");
    let ten = Some(names.as_str());
    let rounds = in_turn(
        options.size(100, 20),
        [
            &mut || issues(None),
            &mut || issues(ten),
            &mut || sights(None, &verify),
            &mut || sights(None, &open),
            &mut || sights(ten, &verify),
            &mut || sights(ten, &open),
        ],
    );
    if failed.get() {
        return Err("a token was not issued, or a live one refused".into());
    }
    let most = |micros: f64| Budget::at_most(micros * 1e3, Unit::Nanos);
    let line = |id, what: &str, figure| Line::new(id, what, figure, Unit::Nanos);
    report
        .add(line("P6", "issue/scopes=default,held=10", rounds.median::<0>()).within(most(8.0)))?;
    report.add(line("P6", "issue/scopes=10,held=10", rounds.median::<1>()).within(most(12.0)))?;
    report.add(issue_without_store(&deployment, &client, &names).await?)?;
    report.add(
        line(
            "P7",
            "first_sight/scopes=default, beside opening alone",
            rounds.median::<2>(),
        )
        .beside(rounds.median::<3>(), rounds.ratio::<2, 3>())
        .within(most(15.0)),
    )?;
    report.add(
        line(
            "P7",
            "first_sight/scopes=10, beside opening alone",
            rounds.median::<4>(),
        )
        .beside(rounds.median::<5>(), rounds.ratio::<4, 5>())
        .within(most(15.0)),
    )?;
    unknown_credentials(options, &deployment, report).await?;
    running.shutdown().await;
    Ok(())
}

/// On a node without background work, whose calls of the store would be counted as well.
async fn issue_without_store(
    deployment: &Deployment,
    client: &Client,
    names: &str,
) -> Result<Line, Error> {
    const EACH: usize = 1_000;
    let node = deployment.another_node().build()?;
    let client = node.authenticate(&client.client_id, &client.secret).await?;
    let (store, mut calls) = (&deployment.store, f64::INFINITY);
    // The other node of this deployment writes last uses now and then: the quietest of a few tries.
    for _ in 0..5 {
        let before = store.calls();
        for _ in 0..EACH {
            node.issue(&client, None)?;
            node.issue(&client, Some(names))?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        let now = (store.calls() - before) as f64;
        calls = calls.min(now);
    }
    let what = format!("  store calls of {} issues", 2 * EACH);
    Ok(Line::count("P6", what, calls, "calls", 0.0))
}

/// Tokens whose credentials the node has not seen either.
async fn unknown_credentials(
    options: &Options,
    deployment: &Deployment,
    report: &mut Report,
) -> Result<(), Error> {
    let clients = deployment.clients(options.size(10_000, 1_000)).await?;
    let tokens = deployment.tokens(&clients, 1).await?;
    let node = deployment.another_node().build()?;
    node.catch_up().await?;
    let reads = deployment.store.reads();
    let began = now();
    for token in &tokens {
        node.verify(token).await?;
    }
    let took = began.elapsed();
    #[expect(clippy::cast_precision_loss, reason = "counts for people")]
    let [took, reads, count] = [
        took.as_nanos() as f64,
        (deployment.store.reads() - reads) as f64,
        tokens.len() as f64,
    ];
    let what = "  first_sight/credential=unknown,store=memory";
    report.add(Line::new("P7", what, took / count, Unit::Nanos))?;
    let unit = Unit::Of("reads");
    report.add(
        Line::new("P7", "  store reads of one of these", reads / count, unit)
            .within(Budget::at_most(1.0, unit)),
    )
}
