//! Runs a command with `TEST_DATABASE_URL` set to an empty database on a throwaway PostgreSQL.

use std::{
    env,
    process::{Command, ExitCode},
};

use test_postgres::Server;

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        return ExitCode::from(2);
    };
    let server = Server::start();
    let database = server.database();
    let status = Command::new(program)
        .args(arguments)
        .env("TEST_DATABASE_URL", database.url())
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
