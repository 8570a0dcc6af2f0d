//! The reference server: one thin host of `credential-axum`, with a demo sign-in and two demo APIs
//! behind the guard.
//!
//! `reference-server --help` lists the options; the first line on standard output is the address.

mod app;
mod config;
mod database;
mod demo;
mod greeting;
mod logging;
mod metrics_endpoint;
mod own_host;
mod server;
mod sign_in;
mod store;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use mimalloc::MiMalloc;
use tokio::runtime::Runtime;

use crate::config::{AuditCommand, Cli, Command, Config};

/// A request makes 25 to 45 short-lived allocations, most of them axum's and hyper's. On 16 connections
/// some 10 % more tokens a second were issued with this one than with the C library's
/// (docs/performance.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return config::usage(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(error)) => fail(2, &error.to_string()),
        Err(Failure::Server(error)) => fail(1, &with_sources(&error)),
        Err(Failure::Database(error)) => fail(1, &with_sources(&error)),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Some(Command::Keygen { name }) => {
            let entry = config::keygen(&name)?;
            writeln!(io::stdout(), "{}", *entry).map_err(server::ServerError::Output)?;
            Ok(())
        }
        Some(Command::Migrate) => {
            logging::log_to_stderr(cli.options.log())?;
            let database = cli.options.database()?;
            Ok(runtime()?.block_on(database::migrate(database))?)
        }
        Some(Command::Invalidate) => {
            logging::log_to_stderr(cli.options.log())?;
            let database = cli.options.database()?;
            Ok(runtime()?.block_on(database::invalidate(database))?)
        }
        Some(Command::Openapi) => {
            let config = Config::new(cli.options.without_database())?;
            let document = server::openapi(&config)?;
            writeln!(io::stdout(), "{document:#}").map_err(server::ServerError::Output)?;
            Ok(())
        }
        Some(Command::Audit {
            command: AuditCommand::Verify { print_heads, heads },
        }) => {
            logging::log_to_stderr(cli.options.log())?;
            let heads = config::heads(heads.as_deref())?;
            let (database, keyring) = cli.options.database_and_keyring()?;
            let verified = database::verify_audit(database, &keyring, &heads, print_heads);
            Ok(runtime()?.block_on(verified)?)
        }
        None => {
            let config = Config::new(cli.options)?;
            logging::log_to_stderr(&config.log)?;
            Ok(runtime()?.block_on(server::run(config))?)
        }
    }
}

fn runtime() -> Result<Runtime, server::ServerError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(server::ServerError::Runtime)
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error(transparent)]
    Server(#[from] server::ServerError),
    #[error(transparent)]
    Database(#[from] database::DatabaseError),
}

/// An error and what caused it, in one line. Some errors repeat their cause themselves.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

fn fail(code: u8, message: &str) -> ExitCode {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(io::stderr(), "reference-server: {message}");
    ExitCode::from(code)
}
