//! Load on the release server over loopback. The figure of a route is a ratio to `GET /livez` of the same
//! server on the same connections in the same run: the floor.
//!
//! The generator is one thread that writes prepared requests and reads only status and length of an
//! answer. The generator's cost is on both sides of each ratio, so a heavier one would flatter the
//! server.

mod client;
mod first_uses;
mod flood;
mod host;
mod neighbours;
mod routes;
mod server;
mod setup;
mod start;

use std::{process::ExitCode, time::Duration};

use benches::{
    Error,
    report::{Report, progress},
};
use clap::{Parser, Subcommand, ValueEnum};

/// Load on the reference server: throughput as ratios to its own floor, and floods.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to run; by default all, some eight minutes.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_values_t = [
            Scenario::Routes,
            Scenario::Start,
            Scenario::Forged,
            Scenario::Dead,
            Scenario::FirstUses,
            Scenario::RefusedCreates,
            Scenario::Lists,
        ]
    )]
    scenario: Vec<Scenario>,
    /// Numbers of kept-alive connections, each with one request at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<usize>,
    /// Slices of each route. Each is between two slices of the floor, and the figure is the median ratio.
    #[arg(long, default_value_t = 7)]
    slices: usize,
    /// Length of each slice in seconds.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Only routes whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Clients of the scenario `first-uses`.
    #[arg(long, default_value_t = 2_000)]
    clients: usize,
    /// One JSON object per line instead of tables.
    #[arg(long)]
    json: bool,
    /// Exit with 1 if a budget is missed.
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// H1–H4: each route beside the floor.
    Routes,
    /// H5: start to first answer, and memory at rest.
    Start,
    /// A flood of forged secrets beside good clients.
    Forged,
    /// A flood of genuine but dead secrets beside good clients.
    Dead,
    /// Many clients that authenticate for the first time at once.
    FirstUses,
    /// F1: 200 connections of refused creates of one admin, beside another tenant.
    RefusedCreates,
    /// F2: 2 500 connections of lists of one admin, beside another tenant.
    Lists,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the OAuth endpoints for the scenario `first-uses`, until standard input ends.
    #[command(hide = true)]
    Host {
        /// How many.
        clients: usize,
    },
}

impl Options {
    fn slice(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.05, 60.0))
    }

    fn slices(&self) -> usize {
        self.slices.clamp(1, 1_000)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(Command::Host { clients }) = options.command {
        return benches::run("load host", false, host::run(clients));
    }
    benches::run_on_one_thread("load", options.check, run(&options))
}

async fn run(options: &Options) -> Result<bool, Error> {
    let mut all_met = true;
    let mut report = Report::of_budgets(options.json);
    if options.scenario.contains(&Scenario::Routes) {
        all_met &= routes::run(options).await?;
        if options.scenario.len() > 1 {
            report.gap()?;
        }
    }
    for scenario in &options.scenario {
        match scenario {
            Scenario::Routes => {}
            Scenario::Start => start::run(&mut report).await?,
            Scenario::Forged => flood::forged(options, &mut report).await?,
            Scenario::Dead => flood::dead(options, &mut report).await?,
            Scenario::FirstUses => first_uses::run(options, &mut report).await?,
            Scenario::RefusedCreates => {
                neighbours::refused_creates(options, &mut report).await?;
            }
            Scenario::Lists => neighbours::lists(options, &mut report).await?,
        }
    }
    progress("");
    Ok(all_met && report.all_met())
}
