//! Options, from flags and the environment, checked as a whole before anything starts.

mod command_line;
mod value;

use std::{
    fmt,
    io::{self, IsTerminal as _},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use credential_axum::{ForwardAuthHeaders, OAuthConfig, ServeConfig};
use credential_core::{
    ScopeCatalog,
    audit::Heads,
    credential::Networks,
    entropy::OsEntropy,
    id::Environment,
    issuer::Issuer,
    secret::keyring::{KeyName, Keyring},
};
use credential_store_postgres::Pooler;
use sqlx::postgres::PgConnectOptions;
use zeroize::Zeroizing;

pub use self::command_line::{AuditCommand, Cli, Command, Options, usage};

/// PostgreSQL, and how it is reached.
#[derive(Debug, Clone)]
pub struct Database {
    pub options: PgConnectOptions,
    /// `None`: it is detected.
    pub pooler: Option<Pooler>,
}

/// What the server runs with.
pub struct Config {
    pub listen: SocketAddr,
    /// `None`: the in-memory store.
    pub database: Option<Database>,
    pub environment: Environment,
    pub self_service: Option<bool>,
    pub outbound: bool,
    pub keyring: Keyring,
    pub catalog: ScopeCatalog,
    pub max_staleness: Duration,
    pub max_lifetime: Option<Duration>,
    pub issuer: Option<Issuer>,
    pub forward_auth_headers: Option<ForwardAuthHeaders>,
    pub introspection_secret: Option<Zeroizing<String>>,
    pub oauth: OAuthConfig,
    /// Empty: nobody.
    pub trusted_proxies: Networks,
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
                .map(|text| value::on_or_off("--self-service", text))
                .transpose()?,
            outbound: value::on_or_off("--outbound", &options.outbound)?,
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
            max_lifetime: options
                .max_lifetime
                .as_deref()
                .map(value::max_lifetime)
                .transpose()?,
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
            oauth: value::authorization_endpoint(options.authorization_endpoint.as_deref())?,
            trusted_proxies: options
                .trusted_proxies
                .as_deref()
                .map(value::trusted_proxies)
                .transpose()?
                .unwrap_or_default(),
            serve: serve_config(options.drain.as_deref())?,
            verified_cache: value::verified_cache(&options.verified_cache)?,
            log: options.log,
        })
    }
}

impl Options {
    /// The database for `migrate` and `invalidate`.
    ///
    /// # Errors
    /// The URL is missing or cannot be read.
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

    /// The database and keyring for `audit verify`.
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

    /// For what needs neither a database nor keys of its own.
    pub fn without_database(self) -> Self {
        Self {
            database_url: None,
            keyring: None,
            ..self
        }
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
        // A person who stops it by hand has no load balancer, and waits.
        config.drain = Duration::ZERO;
    }
    Ok(config)
}

const DATABASE_URLS: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";

fn database_options(url: &str) -> Result<PgConnectOptions, ConfigError> {
    // Why without details: the parser's message may repeat a part of the URL.
    let refused = || {
        ConfigError::new(
            "--database-url (DATABASE_URL)",
            "this is not a PostgreSQL URL",
            DATABASE_URLS,
        )
    };
    // The parser accepts every scheme, also of other databases.
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    if !matches!(scheme, Some("postgres" | "postgresql")) {
        return Err(refused());
    }
    url.parse().map_err(|_| refused())
}

fn no_keyring() -> ConfigError {
    ConfigError::new(
        "--keyring (CREDENTIAL_KEYRING)",
        "it is required with PostgreSQL, because secrets and tokens would end with this process \
         otherwise; give the same one on every node, and only for a new database make one with \
         `reference-server keygen > keyring`, which overwrites that file",
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
