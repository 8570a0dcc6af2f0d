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
    /// Make every node drop its caches, after rows in PostgreSQL were restored or changed by hand.
    Invalidate,
    /// Print the OpenAPI 3.1 document of the admin API and the OAuth endpoints, with the other options as
    /// when serving.
    Openapi,
    /// The audit trail.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verify every tenant's chain. Prints nothing for an intact chain. For any other one, prints its
    /// first bad row (missing, altered or unproven) and exits with 1.
    Verify {
        /// Print the head of each intact chain, `tenant seq hash`. Keep them where nobody who can write
        /// to the database has access.
        #[arg(long)]
        print_heads: bool,
        /// File of such lines: also reports chains that were cut off or rewritten together with their
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

    /// PostgreSQL, 13 or newer. Without it: the in-memory store.
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(super) database_url: Option<String>,

    /// The pooler in front of PostgreSQL: `auto` (detect it at start), `none` (none, or one in session
    /// mode) or `transaction` (one in transaction mode, such as PgBouncer).
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

    /// `on` or `off`: whether clients may be registered by the URL of their keys, and workloads by their issuer.
    /// Both are then fetched from public addresses, over https.
    #[arg(
        long,
        env = "CREDENTIAL_OUTBOUND",
        value_name = "on|off",
        default_value = "off"
    )]
    pub(super) outbound: String,

    /// Root keys, `name:base64[:tag],…`, or `@path` of a file with them; `keygen` makes an entry.
    /// Required with PostgreSQL. With the in-memory store, drawn at start by default.
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

    /// How old the proof may be that cached state is fresh: `0` (always ask the store), or from `500ms`
    /// to `60s`.
    #[arg(
        long,
        env = "CREDENTIAL_MAX_STALENESS",
        value_name = "DURATION",
        default_value = "1s"
    )]
    pub(super) max_staleness: String,

    /// The longest life of a credential in days, such as `365d`, counted from its creation and from each edit of
    /// its expiry. None by default.
    #[arg(long, env = "CREDENTIAL_MAX_LIFETIME", value_name = "DAYS")]
    pub(super) max_lifetime: Option<String>,

    /// Public base URL, the OAuth issuer. By default the listening address. It must be the same on all
    /// nodes of one database.
    #[arg(long, env = "CREDENTIAL_ISSUER", value_name = "URL")]
    pub(super) issuer: Option<String>,

    /// Serve /forward-auth for a gateway that describes the call by this family of headers:
    /// `x-forwarded`, `x-original`, `x-original-url` or `path`. See docs/gateways.md.
    #[arg(long, env = "CREDENTIAL_FORWARD_AUTH_HEADERS", value_name = "FAMILY")]
    pub(super) forward_auth_headers: Option<String>,

    /// Bearer secret with which resource servers introspect: at least 16 characters, or `@path` of a
    /// file with them. Without it, only clients can introspect.
    #[arg(
        long,
        env = "CREDENTIAL_INTROSPECTION_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub(super) introspection_secret: Option<String>,

    /// Authorization endpoint to publish, for clients that insist on one, such as those of MCP: the URL of an
    /// interactive server of your own, `stub` (default) for an address here that refuses in words, or `none`.
    #[arg(
        long,
        env = "CREDENTIAL_AUTHORIZATION_ENDPOINT",
        value_name = "URL|stub|none"
    )]
    pub(super) authorization_endpoint: Option<String>,

    /// Addresses and networks of the proxies in front of this server, separated by commas: they are believed
    /// who called them (`X-Forwarded-For`). By default nobody is, and a call comes from its peer.
    #[arg(long, env = "CREDENTIAL_TRUSTED_PROXIES", value_name = "NETWORKS")]
    pub(super) trusted_proxies: Option<String>,

    /// How long to serve after SIGTERM or SIGINT, up to `300s`. Meanwhile `/readyz` fails and every
    /// answer closes its connection, so that load balancers choose other nodes. By default `5s`, and `0` on
    /// a terminal.
    #[arg(long, env = "CREDENTIAL_DRAIN", value_name = "DURATION")]
    pub(super) drain: Option<String>,

    /// Maximum number of cached verified secrets.
    #[arg(
        long,
        env = "CREDENTIAL_VERIFIED_CACHE",
        value_name = "ENTRIES",
        default_value = "100000"
    )]
    pub(super) verified_cache: String,

    /// Filter for the log on standard error.
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
    // Why not clap's own text: it repeats the argument, which may be a secret.
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
