//! Drives the release server over loopback and prints each route's throughput and latency beside
//! `GET /livez` of the same server on the same connections: the floor.
//!
//! Every route is measured between two slices of the floor, so that a machine whose speed drifts
//! moves both. `cargo run --release -p benches --bin load -- --help` lists the options.

mod client;
mod routes;
mod server;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use benches::Error;
use clap::Parser;
use serde_json::json;

use crate::{
    client::{Slice, drive},
    routes::{Route, Setup},
    server::Server,
};

/// Load on the reference server, as ratios to its own floor.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Options {
    /// Connections that stay open, each with one request at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<usize>,
    /// Seconds of each slice; a route takes one, and the floor one on either side of it.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only routes whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// One JSON object per line instead of a table.
    #[arg(long)]
    json: bool,
}

/// A route's figures.
struct Row {
    connections: usize,
    name: &'static str,
    floor: f64,
    slice: Slice,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.slice.per_second() / self.floor
    }
}

fn main() -> ExitCode {
    benches::run("load", run(&Options::parse()))
}

async fn run(options: &Options) -> Result<(), Error> {
    let server = Server::start()?;
    let setup = Setup::new(&server.address).await?;
    let seconds = Duration::from_secs_f64(options.seconds.clamp(0.05, 60.0));
    let floor = Route::floor();
    let mut out = io::stdout().lock();
    if !options.json {
        writeln!(
            out,
            "{:<22} {:>5} {:>10} {:>10} {:>7} {:>9} {:>9}",
            "route", "conns", "floor/s", "route/s", "ratio", "p50 µs", "p99 µs"
        )?;
    }
    for &connections in &options.connections {
        let connections = connections.clamp(1, 1024);
        for route in setup
            .routes()
            .filter(|route| route.name.contains(&options.only))
        {
            progress(&format!("{} on {connections} connections …", route.name))?;
            let before = drive(&server.address, &floor, connections, seconds).await?;
            let slice = drive(&server.address, &route, connections, seconds).await?;
            let after = drive(&server.address, &floor, connections, seconds).await?;
            let row = Row {
                connections,
                name: route.name,
                floor: f64::midpoint(before.per_second(), after.per_second()),
                slice,
            };
            print(&mut out, &row, options.json)?;
        }
    }
    progress("")
}

/// What is being done, on standard error so that the table stays clean.
fn progress(what: &str) -> Result<(), Error> {
    let mut err = io::stderr().lock();
    write!(err, "\r\x1b[K{what}")?;
    err.flush()?;
    Ok(())
}

fn print(out: &mut impl io::Write, row: &Row, as_json: bool) -> Result<(), Error> {
    progress("")?;
    let [p50, p99] = [0.5, 0.99].map(|share| row.slice.percentile(share));
    if as_json {
        let line = json!({
            "route": row.name,
            "connections": row.connections,
            "floor_per_second": row.floor,
            "per_second": row.slice.per_second(),
            "ratio": row.ratio(),
            "p50_us": p50,
            "p99_us": p99,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(
            out,
            "{:<22} {:>5} {:>10.0} {:>10.0} {:>7.2} {:>9} {:>9}",
            row.name,
            row.connections,
            row.floor,
            row.slice.per_second(),
            row.ratio(),
            p50,
            p99
        )?;
    }
    out.flush()?;
    Ok(())
}
