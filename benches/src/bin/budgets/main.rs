//! The budgets of what happens in process, P1 to P9, each beside its baseline in the same run.
//!
//! Subject and baseline alternate in many short slices, and medians are compared, so that a drift of the
//! machine's speed affects both.

mod authenticate;
mod authorize;
mod edits;
mod memory;
mod scopes;
mod token;

use std::process::ExitCode;

use benches::{
    Error,
    report::{Report, progress},
};
use clap::Parser;

/// The in-process budgets, P1 to P9, each beside its baseline.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Options {
    /// Only these budgets, such as `P1,P5`.
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    only: Vec<String>,
    /// Fewer rounds and smaller stores: under a minute, with less precise figures.
    #[arg(long)]
    quick: bool,
    /// One JSON object per line instead of a table.
    #[arg(long)]
    json: bool,
    /// Exit with 1 if a budget is missed.
    #[arg(long)]
    check: bool,
}

impl Options {
    /// `full`, or `quick` with `--quick`.
    fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    fn wants(&self, ids: &[&str]) -> bool {
        let wanted = |id: &&str| self.only.iter().any(|only| only.eq_ignore_ascii_case(id));
        self.only.is_empty() || ids.iter().any(wanted)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    benches::run("budgets", options.check, run(&options))
}

async fn run(options: &Options) -> Result<bool, Error> {
    let mut report = Report::of_budgets(options.json);
    let memory = if options.wants(&["P9"]) {
        Some(memory::measure(options).await?)
    } else {
        None
    };
    if options.wants(&["P1"]) {
        authorize::measure(options, &mut report).await?;
    }
    if options.wants(&["P2"]) {
        edits::measure(options, &mut report).await?;
    }
    if options.wants(&["P3", "P4"]) {
        authenticate::warm_and_refused(options, &mut report).await?;
    }
    if options.wants(&["P5"]) {
        authenticate::first_use(options, &mut report).await?;
    }
    if options.wants(&["P6", "P7"]) {
        token::measure(options, &mut report).await?;
    }
    if options.wants(&["P8"]) {
        scopes::measure(options, &mut report)?;
    }
    for line in memory.into_iter().flatten() {
        report.add(line)?;
    }
    progress("");
    Ok(report.all_met())
}
