//! Puts the parts together and runs until it is told to stop.

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use credential_axum::{
    Guard, GuardError, NotReady, OAuthConfig, OAuthConfigError, PageConfig, Problem, Stop, Words,
    WordsError, admin_router, forward_auth_router, oauth_router_with, page_router, ready, serve,
};
use credential_core::{
    Credentials, ScopeCatalog,
    catalog::{ApiType, SearchForm},
    host::{BuildError, CredentialsBuilder},
    id::ClientIdPrefix,
    issuer::Issuer,
    secret::verify::VerifierConfig,
    store::{CredentialStore, StoreError},
};
use credential_store_memory::MemoryStore;
use credential_store_postgres::{ListenerState, PostgresStore};
use http::{Method, StatusCode, header};
use tokio::net::TcpSocket;

use crate::{
    config::{Config, ConfigError, Database},
    database::{self, DatabaseError},
    demo, sign_in,
    telemetry::{self, Metrics},
};

/// Where Elation's own clients ask for tokens.
const ELATION_TOKEN_PATH: &str = "/api/2.0/oauth2/token/";

/// Connections that the kernel accepts before the server does.
const BACKLOG: u32 = 1024;

/// Why the server did not start or stopped badly.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("could not listen on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("could not start the runtime: {0}")]
    Runtime(io::Error),
    #[error("could not write to standard output: {0}")]
    Output(io::Error),
    #[error("could not serve: {0}")]
    Serve(io::Error),
    #[error("could not put the library together")]
    Build(#[from] BuildError),
    #[error("could not mount the guard")]
    Guard(#[from] GuardError),
    #[error("could not mount the page")]
    Page(#[from] WordsError),
    #[error("could not mount the OAuth endpoints")]
    OAuth(#[from] OAuthConfigError),
    #[error("could not collect metrics")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    #[error("could not start with this store")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

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

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServerError`] says what could not be done.
pub async fn run(config: Config) -> Result<(), ServerError> {
    // Before the address is told: who knows it may send the signal at once.
    let stop = Stop::on_signals().map_err(ServerError::Runtime)?;
    let listen_error = |source| ServerError::Listen {
        address: config.listen,
        source,
    };
    let socket = bind(config.listen).map_err(listen_error)?;
    let address = socket.local_addr().map_err(ServerError::Serve)?;
    let base = format!("http://{address}");
    let store = tokio::select! {
        store = Store::open(config.database.clone()) => store?,
        // It may be waiting for its database.
        () = stop.told() => return Ok(()),
    };
    let credentials = credentials(&store, &config, &base)?;
    let running = credentials.start().await?;
    let app = app(&credentials, &store, &config, &stop)?;
    // Not before: a load balancer that can connect sends requests.
    let listener = socket.listen(BACKLOG).map_err(listen_error)?;

    let self_service = credentials.self_service();
    greet(
        &mut io::stdout().lock(),
        &base,
        &store,
        &config.catalog,
        self_service,
    )
    .map_err(ServerError::Output)?;
    serve(listener, app, config.serve, stop).await;
    running.shutdown().await;
    Ok(())
}

/// A socket that has its address, and refuses connections until it listens.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // As tokio does by itself: connections of a process that has just ended may still be there.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Where credentials are kept.
#[derive(Debug, Clone)]
enum Store {
    Memory(MemoryStore),
    Postgres(PostgresStore),
}

impl Store {
    async fn open(database: Option<Database>) -> Result<Self, DatabaseError> {
        Ok(match database {
            None => Self::Memory(MemoryStore::new()),
            Some(database) => Self::Postgres(database::wait_and_open(database).await?),
        })
    }

    fn shared(&self) -> Arc<dyn CredentialStore> {
        match self {
            Self::Memory(store) => Arc::new(store.clone()),
            Self::Postgres(store) => Arc::new(store.clone()),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Postgres(_) => "postgresql",
        }
    }

    /// Whether other nodes' changes wake this one; `None` where there are none.
    fn listener(&self) -> Option<ListenerState> {
        match self {
            Self::Memory(_) => None,
            Self::Postgres(store) => Some(store.listener_state()),
        }
    }
}

fn credentials(store: &Store, config: &Config, base: &str) -> Result<Credentials, ServerError> {
    for warning in config.catalog.warnings() {
        tracing::warn!(%warning, "something in the catalogue has no effect");
    }
    let mut builder = CredentialsBuilder::new(store.shared())
        .catalog(config.catalog.clone())
        .keyring(config.keyring.clone())
        .environment(config.environment)
        .prefix(ClientIdPrefix::default())
        .issuer(config.issuer.as_ref().map_or(base, Issuer::as_str))
        .max_staleness(config.max_staleness)
        .verifier(VerifierConfig {
            cache_entries: config.verified_cache,
            ..VerifierConfig::default()
        });
    if let Some(on) = config.self_service {
        builder = builder.self_service(on);
    }
    Ok(builder.build()?)
}

/// Everything that is served.
fn app(
    credentials: &Credentials,
    store: &Store,
    config: &Config,
    stop: &Stop,
) -> Result<Router, ServerError> {
    let sessions = sign_in::Sessions::default();
    let mut oauth = OAuthConfig::default().token_path_alias(ELATION_TOKEN_PATH)?;
    if let Some(secret) = &config.introspection_secret {
        oauth = oauth.introspection_secret(secret.as_str().to_owned())?;
    }
    // Whatever a session opens.
    let signed_in = Router::new()
        .nest(
            "/api-access/v1",
            admin_router(credentials, sessions.clone()),
        )
        .merge(sign_in::router(sessions.clone()))
        .nest_service(
            "/settings/api-access",
            page_router(credentials, sessions, page_config()?),
        )
        .layer(middleware::from_fn_with_state(
            sign_in::OwnHost::of(credentials.issuer()),
            sign_in::only_own_host,
        ));
    let mut app = Router::new()
        .merge(signed_in)
        .merge(oauth_router_with(credentials, oauth))
        .route("/livez", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(readyz).with_state((credentials.clone(), store.clone(), stop.clone())),
        )
        .route("/", get(|| async { Redirect::to("/settings/api-access") }))
        .fallback(|| async { Problem::not_found() });
    for api_type in credentials.catalog().api_types() {
        let guard = Guard::new(credentials, api_type.id().as_str())?;
        app = app.merge(demo::router(api_type, &guard, credentials.clock()));
    }
    if let Some(headers) = config.forward_auth_headers {
        app = app.merge(forward_auth_router(credentials, headers));
    }
    let listens = store.clone();
    let metrics = Metrics::install(credentials, move || {
        listens
            .listener()
            .map(|state| state == ListenerState::Listening)
    })?;
    Ok(app
        .route("/metrics", get(telemetry::scrape).with_state(metrics))
        .layer(middleware::from_fn(first)))
}

/// What every request passes first. TRACE is refused wherever it is tried: it would send back what
/// it was sent, tokens included.
async fn first(route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    if request.method() == Method::TRACE {
        let allow = [(
            header::ALLOW,
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        )];
        return (StatusCode::METHOD_NOT_ALLOWED, allow).into_response();
    }
    telemetry::count(route, request, next).await
}

/// By what this node knows already: probes, and whoever else asks, cost the store nothing.
async fn readyz(State((credentials, store, stop)): State<(Credentials, Store, Stop)>) -> Response {
    let (status, word) = match ready(&credentials, &stop) {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(NotReady::Draining) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        Err(NotReady::Stale) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let details = Json(serde_json::json!({
        "status": word,
        "store": store.name(),
        "listener": store.listener().map(|state| state.to_string()),
        "freshness_age_ms": credentials.freshness_age().map(|age| age.as_secs_f64() * 1000.0),
    }));
    (status, details).into_response()
}

/// Elation's words for the page.
///
/// # Errors
/// The sentences are not those of the table.
fn page_config() -> Result<PageConfig, WordsError> {
    let words = Words::parse("en", WORDS).map(Arc::new)?;
    let config = PageConfig::default()
        .product("Elation")
        .tenant("practice")
        .admins("Practice Admins")
        .support("Elation support", None)
        .documentation("apiv2", "https://docs.elationhealth.com/")
        .documentation("fhir", "https://docs.elationhealth.com/")
        .link("Switch user", "/sign-in")
        .names(|_, actor| sign_in::shown_names(actor))
        .words(move |_| Some(words.clone()));
    Ok(config)
}

/// What Elation says beside the page's own sentences.
const WORDS: &str = r#"{
    "advice.integrations": "A named vendor or lab integration?",
    "advice.integrations.rest": "It is set up for you: contact {support}.",
    "create.integrations": "Connecting a named vendor or lab? That is set up for you: contact {support}."
}"#;

/// A first key and a first call, from whatever the catalogue offers.
#[derive(Default)]
struct Example<'a> {
    api_type: &'a str,
    scope: Option<&'a str>,
    /// A path that the scope opens.
    path: Option<String>,
}

impl<'a> Example<'a> {
    fn of(catalog: &'a ScopeCatalog) -> Self {
        let api_types = || catalog.api_types().iter();
        let callable = api_types().find_map(|api_type| Self::reads_of(api_type).next());
        callable.unwrap_or_else(|| Self {
            api_type: api_types().next().map_or("", |first| first.id().as_str()),
            ..Self::default()
        })
    }

    /// The resources whose read scope is what reading them needs.
    fn reads_of(api_type: &'a ApiType) -> impl Iterator<Item = Self> {
        let resources = api_type.categories().iter().flat_map(|all| &all.resources);
        resources.filter_map(|resource| {
            let scope = api_type.scope_at(resource.read?)?;
            let path = format!("{}/{}", api_type.base_path(), resource.id);
            let needed = api_type.requirement("GET", &path, SearchForm::None).ok()?;
            (api_type.describe(&needed) == scope.name).then(|| Self {
                api_type: api_type.id().as_str(),
                scope: Some(&scope.name),
                path: Some(path),
            })
        })
    }
}

/// Tells the address, which programs wait for, and then what a newcomer needs.
///
/// # Errors
/// The address could not be told. Whoever closes the output after that has what it wanted.
fn greet(
    out: &mut impl io::Write,
    base: &str,
    store: &Store,
    catalog: &ScopeCatalog,
    self_service: bool,
) -> io::Result<()> {
    let example = Example::of(catalog);
    writeln!(out, "listening on {base}")?;
    out.flush()?;
    let rest = writeln!(
        out,
        "
API Access page   {base}/settings/api-access
Sign in           {base}/sign-in, as {users}

{create}

  curl -s -c jar -d user=alder-admin {base}/sign-in
  curl -s -b jar -H 'Content-Type: application/json' \\
       -d '{{\"name\":\"Lab sync\",\"api_type\":\"{api_type}\",\"scopes\":[{scope}]}}' \\
       {base}/api-access/v1/credentials
  curl -s -d grant_type=client_credentials -d client_id=CLIENT_ID -d client_secret=CLIENT_SECRET \\
       {base}/oauth2/token
{call}
{kept} Ctrl-C stops it.",
        users = sign_in::user_list(),
        create = if self_service {
            "Create an API key and get a token:"
        } else {
            "Self-service is off: no API key can be created here. With `--self-service on`:"
        },
        api_type = example.api_type,
        scope = example
            .scope
            .map_or(String::new(), |scope| format!("\"{scope}\"")),
        call = example.path.map_or(String::new(), |path| format!(
            "  curl -s -H 'Authorization: Bearer ACCESS_TOKEN' {base}{path}\n"
        )),
        kept = match store {
            Store::Memory(_) => "The store is in memory: everything ends with this process.",
            Store::Postgres(_) =>
                "Credentials are kept in PostgreSQL; sign-ins end with this process.",
        },
    );
    if let Err(error) = rest.and_then(|()| out.flush()) {
        tracing::debug!(%error, "nobody reads on after the address");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then is closed.
    struct Pipe(Vec<u8>, usize);

    impl io::Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() + bytes.len() > self.1 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.0.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_reads_only_the_address_does_not_end_the_server() {
        const LINE: &str = "listening on http://[::1]:80\n";
        let store = Store::Memory(MemoryStore::new());
        let catalog = ScopeCatalog::elation();
        for (room, greeted) in [(0, false), (LINE.len(), true), (10_000, true)] {
            let mut pipe = Pipe(Vec::new(), room);
            assert_eq!(
                greet(&mut pipe, "http://[::1]:80", &store, &catalog, true).is_ok(),
                greeted
            );
            assert_eq!(pipe.0.starts_with(LINE.as_bytes()), greeted);
        }
    }
}
