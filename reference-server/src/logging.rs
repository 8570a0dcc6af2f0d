//! The log.

use std::io::{self, IsTerminal as _};

use crate::config::ConfigError;

/// Logs go to standard error, so that standard output stays readable for people and programs.
///
/// # Errors
/// The filter cannot be read.
pub fn log_to_stderr(filter: &str) -> Result<(), ConfigError> {
    let filter = tracing_subscriber::EnvFilter::builder()
        .parse(filter)
        .map_err(|error| {
            ConfigError::new(
                "--log (RUST_LOG)",
                error,
                "a level such as `info`, or a list such as `warn,credential_core=debug`",
            )
        })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}
