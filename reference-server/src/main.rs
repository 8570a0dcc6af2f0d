//! The reference server: one thin host of `credential-axum`, with a demo sign-in and two demo APIs
//! behind the guard.
//!
//! `reference-server --help` lists the options; the first line on standard output is the address.

mod config;
mod demo;
mod server;
mod sign_in;
mod telemetry;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;

use crate::config::{Cli, Command, Config};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return config::usage(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(error)) => fail(2, &error.to_string()),
        Err(Failure::Server(error)) => fail(1, &error.to_string()),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Some(Command::Keygen { name }) => {
            let entry = config::keygen(&name)?;
            writeln!(io::stdout(), "{}", *entry).map_err(server::ServerError::Output)?;
            Ok(())
        }
        None => {
            let config = Config::new(cli.options)?;
            server::log_to_stderr(&config.log)?;
            tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(server::ServerError::Runtime)?
                .block_on(server::run(config))?;
            Ok(())
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error(transparent)]
    Server(#[from] server::ServerError),
}

fn fail(code: u8, message: &str) -> ExitCode {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(io::stderr(), "reference-server: {message}");
    ExitCode::from(code)
}
