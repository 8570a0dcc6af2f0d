//! Shared parts of the measurements.
//!
//! | I want to… | see |
//! | --- | --- |
//! | set up credentials and tokens | [`fixture`] |
//! | know the baseline of a ratio | [`baseline`] |
//! | know how a figure is taken | [`measure`] |
//! | print a figure beside its budget | [`report`] |

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use tokio::runtime::Builder;

pub mod baseline;
pub mod fixture;
pub mod measure;
pub mod report;

/// The error of a measurement.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs a program to its end on all cores. A failure is written to standard error.
///
/// The future returns whether every budget was met. With `check`, a missed one fails the program.
pub fn run(
    program: &str,
    check: bool,
    future: impl Future<Output = Result<bool, Error>>,
) -> ExitCode {
    run_on(Builder::new_multi_thread(), program, check, future)
}

/// As [`run`], on this thread alone, for programs that generate load.
pub fn run_on_one_thread(
    program: &str,
    check: bool,
    future: impl Future<Output = Result<bool, Error>>,
) -> ExitCode {
    run_on(Builder::new_current_thread(), program, check, future)
}

fn run_on(
    mut runtime: Builder,
    program: &str,
    check: bool,
    future: impl Future<Output = Result<bool, Error>>,
) -> ExitCode {
    let runtime = runtime.enable_all().build();
    match runtime
        .map_err(Error::from)
        .and_then(|it| it.block_on(future))
    {
        Ok(met) if met || !check => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            report::progress("");
            let _ = writeln!(io::stderr(), "{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether this is criterion's `--test`, which runs each benchmark once: set-up may be small then.
#[must_use]
pub fn is_smoke_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}
