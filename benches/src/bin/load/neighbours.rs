//! F1 and F2: what one tenant's many connections cost another tenant.
//!
//! The other tenant's warm checks stand beside `GET /livez` under the same load, its first uses beside
//! its own before the load. Any failure of its requests ends the run.

use std::time::Duration;

use benches::{
    Error,
    measure::{Samples, now},
    report::{Budget, Line, Report, Unit, progress},
};
use serde_json::json;

use crate::{
    Options,
    client::{Connection, Exchange, Group, drive, p50_and_p99},
    server::Server,
    setup::{Admin, Key, livez, token_by_post, warm_check},
};

/// Of the other tenant, for each of its warm checks and `/livez`.
const CONNECTIONS: usize = 8;
/// First uses before the load, and as many under it.
const FIRST_USES: usize = 20;

/// 200 connections of creates that are refused, of one admin.
pub async fn refused_creates(options: &Options, report: &mut Report) -> Result<(), Error> {
    progress("refused creates of a neighbour");
    let mut server = Server::start()?;
    let mut alder = Admin::sign_in(&server.address).await?;
    alder.create("Lab").await?;
    let body = json!({"name": "LAB", "api_type": "apiv2"});
    let load = alder.request("a refused create", "POST", "", &body, 409);
    let load = load.or_rate_limited();
    let result = run("F1", load, 200, options, &server, report).await;
    server.explain(result)
}

/// 2 500 connections of lists, of one admin.
pub async fn lists(options: &Options, report: &mut Report) -> Result<(), Error> {
    progress("lists of a neighbour");
    let mut server = Server::start()?;
    let mut alder = Admin::sign_in(&server.address).await?;
    for n in 0..50 {
        alder.create(&format!("key {n}")).await?;
    }
    let load = alder.request("a list", "GET", "", &serde_json::Value::Null, 200);
    let load = load.or_rate_limited();
    let result = run("F2", load, 2_500, options, &server, report).await;
    server.explain(result)
}

async fn run(
    id: &'static str,
    load: Exchange,
    connections: usize,
    options: &Options,
    server: &Server,
    report: &mut Report,
) -> Result<(), Error> {
    let name = load.name;
    let mut birch = Admin::sign_in_as(&server.address, "birch-admin").await?;
    let key = birch.create("warm").await?;
    let check = warm_check(&server.address, &key).await?;
    let mut new = Vec::new();
    for n in 0..2 * FIRST_USES {
        new.push(birch.create(&format!("new {n}")).await?);
    }
    let (before, under) = new.split_at(FIRST_USES);
    let mut checks = Group::open(&server.address, CONNECTIONS, vec![check]).await?;
    let mut floor = Group::open(&server.address, CONNECTIONS, vec![livez()]).await?;
    let mut connection = Connection::open(&server.address).await?;
    let quiet = first_uses(&mut connection, before).await?;

    let mut load = Group::open(&server.address, connections, vec![load]).await?;
    let time = options.slice() * 10;
    let [_, checks, floor] = drive([&mut load, &mut checks, &mut floor], time).await?;
    let (loaded, first) =
        tokio::join!(drive([&mut load], time), first_uses(&mut connection, under));
    let ([loaded], first) = (loaded?, first?);

    let what = |what: &str| format!("{what}/beside {name},connections={connections}");
    let [[_, check_p99], [_, floor_p99]] = [checks.latencies, floor.latencies].map(p50_and_p99);
    report.add(
        Line::new(id, what("warm checks, p99"), check_p99 * 1e3, Unit::Nanos)
            .beside(floor_p99 * 1e3, check_p99 / floor_p99)
            .within(Budget::at_most(1.5, Unit::Times)),
    )?;
    report.add(
        Line::new(id, what("first uses, median"), first * 1e9, Unit::Nanos)
            .beside(quiet * 1e9, first / quiet)
            .within(Budget::at_most(3.0, Unit::Times)),
    )?;
    report.add(Line::new(
        "",
        "  the neighbour's",
        loaded.per_second,
        Unit::PerSecond,
    ))
}

/// Seconds of each client's first token, as the median.
async fn first_uses(connection: &mut Connection, keys: &[Key]) -> Result<f64, Error> {
    let mut took = Vec::new();
    for key in keys {
        let request = token_by_post("a first use", &key.client_id, &key.secret, 200);
        let began = now();
        let answer = connection.exchange(&request.request).await?;
        if answer.status != request.expected {
            return Err(format!("a first use was answered {}", answer.status).into());
        }
        took.push(began.elapsed().as_secs_f64());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(Samples::new(took).median())
}
