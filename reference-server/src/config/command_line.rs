//! The command line: commands, flags and their environment variables.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{
    Args, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Reference server for self-service API credentials.
///
/// Starts with nothing else installed: in-memory store, sandbox, demo sign-in.
#[derive(Debug, Parser)]
#[command(name = "reference-server", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub options: Options,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a new keyring entry, `name:base64`.
    Keygen {
        /// The key's name: 1–32 of a–z, 0–9 and `-`.
        #[arg(default_value = "k1")]
        name: String,
    },
    /// Apply the PostgreSQL migrations; safe to run from several nodes at once.
    Migrate,
    /// Have every node start anew, after rows in PostgreSQL were restored or changed by hand.
    Invalidate,
    /// The audit trail.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verify every tenant's chain, silent where it is intact; exit 1, with the first bad row of each
    /// other one, if a row is missing, was altered, or cannot be vouched for.
    Verify {
        /// Print the head of each intact chain, `tenant seq hash`, to be kept out of reach of whoever
        /// can write to the database.
        #[arg(long)]
        print_heads: bool,
        /// A file of such lines: also find chains that were cut off or rewritten together with their
        /// heads.
        #[arg(long, value_name = "FILE")]
        heads: Option<PathBuf>,
    },
}

/// Every value is taken as text and checked in [`Config::new`](super::Config::new), so that a fault is named in one
/// voice and a secret is never echoed.
#[derive(Debug, Args)]
pub struct Options {
    /// Address to listen on; port 0 picks a free one. Loopback only: the sign-in is a demo.
    #[arg(
        long,
        env = "CREDENTIAL_LISTEN",
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8080"
    )]
    pub(super) listen: String,

    /// PostgreSQL, 13 or newer; absent: the in-memory store.
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(super) database_url: Option<String>,

    /// What stands before PostgreSQL: `auto` (find out at start), `none` (nothing, or a pooler in
    /// session mode) or `transaction` (a pooler such as PgBouncer in transaction mode).
    #[arg(
        long,
        global = true,
        env = "CREDENTIAL_DATABASE_POOLER",
        value_name = "MODE",
        default_value = "auto"
    )]
    pub(super) database_pooler: String,

    /// `sandbox` or `production`.
    #[arg(
        long,
        env = "CREDENTIAL_ENVIRONMENT",
        value_name = "NAME",
        default_value = "sandbox"
    )]
    pub(super) environment: String,

    /// `on` or `off`; by default on in sandbox and off in production.
    #[arg(long, env = "CREDENTIAL_SELF_SERVICE", value_name = "on|off")]
    pub(super) self_service: Option<String>,

    /// Root keys, `name:base64[:tag],…`, or `@path` of a file with them. Needed with PostgreSQL;
    /// with the in-memory store drawn at start by default. `keygen` makes an entry.
    #[arg(
        long,
        global = true,
        env = "CREDENTIAL_KEYRING",
        value_name = "KEYS",
        hide_env_values = true
    )]
    pub(super) keyring: Option<String>,

    /// Catalogue of API types and scopes (TOML); by default Elation's.
    #[arg(long, env = "CREDENTIAL_CATALOG", value_name = "PATH")]
    pub(super) catalog: Option<PathBuf>,

    /// How long a cached answer may stand without proof that it is fresh: `0` (always read the
    /// store), or from `500ms` to `60s`.
    #[arg(
        long,
        env = "CREDENTIAL_MAX_STALENESS",
        value_name = "DURATION",
        default_value = "1s"
    )]
    pub(super) max_staleness: String,

    /// Public base URL, the OAuth issuer; by default the listening address. All nodes on one
    /// database are given the same.
    #[arg(long, env = "CREDENTIAL_ISSUER", value_name = "URL")]
    pub(super) issuer: Option<String>,

    /// Serve /forward-auth for a gateway, which says what it asks about as `x-forwarded`,
    /// `x-original`, `x-original-url` or `path`: see docs/gateways.md.
    #[arg(long, env = "CREDENTIAL_FORWARD_AUTH_HEADERS", value_name = "FAMILY")]
    pub(super) forward_auth_headers: Option<String>,

    /// Lets resource servers introspect with it as bearer: at least 16 characters, or `@path` of a
    /// file with them. Absent: only clients can.
    #[arg(
        long,
        env = "CREDENTIAL_INTROSPECTION_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub(super) introspection_secret: Option<String>,

    /// How long it goes on serving after SIGTERM or SIGINT, while `/readyz` fails and every answer closes
    /// its connection, so that load balancers look elsewhere: up to `300s`; by default `5s`, and `0` on a
    /// terminal.
    #[arg(long, env = "CREDENTIAL_DRAIN", value_name = "DURATION")]
    pub(super) drain: Option<String>,

    /// How many verified secrets are remembered.
    #[arg(
        long,
        env = "CREDENTIAL_VERIFIED_CACHE",
        value_name = "ENTRIES",
        default_value = "100000"
    )]
    pub(super) verified_cache: String,

    /// Filter of the log on standard error.
    #[arg(
        long,
        global = true,
        env = "RUST_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub(super) log: String,
}

/// Answers `--help` and `--version`, and faults of the command line itself.
pub fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    // Why not clap's own text: it repeats what was typed, and that may be a secret.
    let fault = match error.kind() {
        ErrorKind::UnknownArgument => "there is an option that does not exist",
        ErrorKind::InvalidSubcommand => "there is a command that does not exist",
        ErrorKind::ArgumentConflict => "an option is given more than once",
        ErrorKind::InvalidValue | ErrorKind::NoEquals => "an option lacks its value",
        ErrorKind::InvalidUtf8 => "an option's value is not UTF-8",
        _ => "the command line cannot be read",
    };
    let meant = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand];
    let meant = meant.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(name) => Some(name.as_str()),
        ContextValue::Strings(names) => names.last().map(String::as_str),
        _ => None,
    });
    let meant = meant.map_or(String::new(), |name| format!(", did you mean `{name}`?"));
    let _ = writeln!(
        io::stderr(),
        "reference-server: {fault}{meant}; accepted: see `reference-server --help`"
    );
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
