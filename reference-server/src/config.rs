//! Options, from flags and the environment, checked as a whole before anything starts.

mod value;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{
    Args, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use credential_axum::{ForwardAuthHeaders, ServeConfig};
use credential_core::{
    ScopeCatalog,
    audit::Heads,
    entropy::OsEntropy,
    id::Environment,
    issuer::Issuer,
    secret::keyring::{KeyName, Keyring},
};
use credential_store_postgres::Pooler;
use sqlx::postgres::PgConnectOptions;
use zeroize::Zeroizing;

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

/// Reads a file of heads kept elsewhere.
///
/// # Errors
/// If it cannot be read or a line is none.
pub fn heads(path: Option<&Path>) -> Result<Heads, ConfigError> {
    const ACCEPTED: &str = "a file of lines `tenant seq hash`, as --print-heads writes them";
    let Some(path) = path else {
        return Ok(Heads::default());
    };
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::new("--heads", format!("`{shown}`: {error}"), ACCEPTED))?;
    text.parse()
        .map_err(|error| ConfigError::new("--heads", format!("`{shown}`: {error}"), ACCEPTED))
}

/// Every value is taken as text and checked in [`Config::new`], so that a fault is named in one
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
    listen: String,

    /// PostgreSQL, 13 or newer; absent: the in-memory store.
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    database_url: Option<String>,

    /// What stands before PostgreSQL: `auto` (find out at start), `none` (nothing, or a pooler in
    /// session mode) or `transaction` (a pooler such as PgBouncer in transaction mode).
    #[arg(
        long,
        global = true,
        env = "CREDENTIAL_DATABASE_POOLER",
        value_name = "MODE",
        default_value = "auto"
    )]
    database_pooler: String,

    /// `sandbox` or `production`.
    #[arg(
        long,
        env = "CREDENTIAL_ENVIRONMENT",
        value_name = "NAME",
        default_value = "sandbox"
    )]
    environment: String,

    /// `on` or `off`; by default on in sandbox and off in production.
    #[arg(long, env = "CREDENTIAL_SELF_SERVICE", value_name = "on|off")]
    self_service: Option<String>,

    /// Root keys, `name:base64[:tag],…`, or `@path` of a file with them. Needed with PostgreSQL;
    /// with the in-memory store drawn at start by default. `keygen` makes an entry.
    #[arg(
        long,
        global = true,
        env = "CREDENTIAL_KEYRING",
        value_name = "KEYS",
        hide_env_values = true
    )]
    keyring: Option<String>,

    /// Catalogue of API types and scopes (TOML); by default Elation's.
    #[arg(long, env = "CREDENTIAL_CATALOG", value_name = "PATH")]
    catalog: Option<PathBuf>,

    /// How long a cached answer may stand without proof that it is fresh: `0` (always read the
    /// store), or from `500ms` to `60s`.
    #[arg(
        long,
        env = "CREDENTIAL_MAX_STALENESS",
        value_name = "DURATION",
        default_value = "1s"
    )]
    max_staleness: String,

    /// Public base URL, the OAuth issuer; by default the listening address. All nodes on one
    /// database are given the same.
    #[arg(long, env = "CREDENTIAL_ISSUER", value_name = "URL")]
    issuer: Option<String>,

    /// Serve /forward-auth for a gateway, which says what it asks about as `x-forwarded`,
    /// `x-original`, `x-original-url` or `path`: see docs/gateways.md.
    #[arg(long, env = "CREDENTIAL_FORWARD_AUTH_HEADERS", value_name = "FAMILY")]
    forward_auth_headers: Option<String>,

    /// Lets resource servers introspect with it as bearer: at least 16 characters, or `@path` of a
    /// file with them. Absent: only clients can.
    #[arg(
        long,
        env = "CREDENTIAL_INTROSPECTION_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    introspection_secret: Option<String>,

    /// How long it goes on serving after SIGTERM or SIGINT, while `/readyz` fails and every answer closes
    /// its connection, so that load balancers look elsewhere: up to `300s`; by default `5s`, and `0` on a
    /// terminal.
    #[arg(long, env = "CREDENTIAL_DRAIN", value_name = "DURATION")]
    drain: Option<String>,

    /// How many verified secrets are remembered.
    #[arg(
        long,
        env = "CREDENTIAL_VERIFIED_CACHE",
        value_name = "ENTRIES",
        default_value = "100000"
    )]
    verified_cache: String,

    /// Filter of the log on standard error.
    #[arg(
        long,
        global = true,
        env = "RUST_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    log: String,
}

/// PostgreSQL, and how it is reached.
#[derive(Debug, Clone)]
pub struct Database {
    pub options: PgConnectOptions,
    /// `None`: it is found out.
    pub pooler: Option<Pooler>,
}

/// What the server runs with.
pub struct Config {
    pub listen: SocketAddr,
    /// `None`: the in-memory store.
    pub database: Option<Database>,
    pub environment: Environment,
    pub self_service: Option<bool>,
    pub keyring: Keyring,
    pub catalog: ScopeCatalog,
    pub max_staleness: Duration,
    pub issuer: Option<Issuer>,
    pub forward_auth_headers: Option<ForwardAuthHeaders>,
    pub introspection_secret: Option<Zeroizing<String>>,
    pub serve: ServeConfig,
    pub verified_cache: usize,
    pub log: String,
}

/// A value that cannot be used. Never repeats a value that may be secret.
#[derive(Debug, thiserror::Error)]
#[error("{option}: {fault}; accepted: {accepted}")]
pub struct ConfigError {
    option: &'static str,
    fault: String,
    accepted: &'static str,
}

impl ConfigError {
    pub fn new(option: &'static str, fault: impl fmt::Display, accepted: &'static str) -> Self {
        Self {
            option,
            fault: fault.to_string(),
            accepted,
        }
    }
}

impl Config {
    /// # Errors
    /// The first option whose value cannot be used.
    pub fn new(options: Options) -> Result<Self, ConfigError> {
        let database = options.database_url.map(Zeroizing::new);
        let pooler = value::pooler(&options.database_pooler)?;
        Ok(Self {
            listen: value::listen(&options.listen)?,
            environment: options.environment.parse().map_err(|_| {
                value::unknown(
                    "--environment",
                    &options.environment,
                    "`sandbox` or `production`",
                )
            })?,
            self_service: options
                .self_service
                .as_deref()
                .map(value::on_or_off)
                .transpose()?,
            keyring: match options.keyring.map(Zeroizing::new) {
                Some(keys) => value::keyring(keys)?,
                None if database.is_none() => Keyring::generate(&OsEntropy),
                None => return Err(no_keyring()),
            },
            database: database
                .map(|url| {
                    Ok(Database {
                        options: database_options(&url)?,
                        pooler,
                    })
                })
                .transpose()?,
            catalog: value::catalog(options.catalog)?,
            max_staleness: value::max_staleness(&options.max_staleness)?,
            issuer: options.issuer.as_deref().map(value::issuer).transpose()?,
            forward_auth_headers: options
                .forward_auth_headers
                .as_deref()
                .map(value::forward_auth_headers)
                .transpose()?,
            introspection_secret: options
                .introspection_secret
                .map(Zeroizing::new)
                .map(value::introspection_secret)
                .transpose()?,
            serve: serve_config(options.drain.as_deref())?,
            verified_cache: value::verified_cache(&options.verified_cache)?,
            log: options.log,
        })
    }
}

impl Options {
    /// What `migrate` and `invalidate` work on.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn database(self) -> Result<Database, ConfigError> {
        let pooler = value::pooler(&self.database_pooler)?;
        let url = self.database_url.map(Zeroizing::new).ok_or_else(|| {
            ConfigError::new(
                "--database-url (DATABASE_URL)",
                "it is missing",
                DATABASE_URLS,
            )
        })?;
        Ok(Database {
            options: database_options(&url)?,
            pooler,
        })
    }

    /// What `audit verify` works on.
    ///
    /// # Errors
    /// One of the two is missing or cannot be read.
    pub fn database_and_keyring(mut self) -> Result<(Database, Keyring), ConfigError> {
        let keys = self
            .keyring
            .take()
            .map(Zeroizing::new)
            .ok_or_else(no_keyring)?;
        Ok((self.database()?, value::keyring(keys)?))
    }

    /// The filter of the log.
    pub fn log(&self) -> &str {
        &self.log
    }
}

fn serve_config(drain: Option<&str>) -> Result<ServeConfig, ConfigError> {
    let mut config = ServeConfig::default();
    if let Some(text) = drain {
        config.drain = value::drain(text)?;
    } else if io::stdin().is_terminal() || io::stdout().is_terminal() {
        // Whoever stops it by hand has no load balancer, and waits.
        config.drain = Duration::ZERO;
    }
    Ok(config)
}

const DATABASE_URLS: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";

fn database_options(url: &str) -> Result<PgConnectOptions, ConfigError> {
    // Why no word of what is wrong: the parser's own may repeat a part of the URL.
    let refused = || {
        ConfigError::new(
            "--database-url (DATABASE_URL)",
            "this is no such URL",
            DATABASE_URLS,
        )
    };
    // The parser takes every scheme, another database's included.
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    if !matches!(scheme, Some("postgres" | "postgresql")) {
        return Err(refused());
    }
    url.parse().map_err(|_| refused())
}

fn no_keyring() -> ConfigError {
    ConfigError::new(
        "--keyring (CREDENTIAL_KEYRING)",
        "it is needed with PostgreSQL, the same on every node, or secrets and tokens would end \
         with this process; give the one that the nodes have, and only for a new database make one \
         with `reference-server keygen > keyring`, which overwrites that file",
        "`--keyring @keyring`, or `name:base64[:tag],…`",
    )
}

/// A new keyring entry for `keygen`.
///
/// # Errors
/// The name is no key name.
pub fn keygen(name: &str) -> Result<Zeroizing<String>, ConfigError> {
    let name: KeyName = name
        .parse()
        .map_err(|_| value::unknown("keygen", name, "a name of 1–32 of a–z, 0–9 and `-`"))?;
    Ok(Keyring::generate_entry(&name, &OsEntropy))
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
