//! Puts the parts together and runs until it is told to stop.

use std::{io, net::SocketAddr, sync::Arc};

use credential_axum::{Stop, serve};
use credential_core::{
    BuildError, Credentials, id::ClientIdPrefix, issuer::Issuer, secret::verify::VerifierConfig,
    store::StoreError,
};
use credential_fetch::HttpsFetch;
use credential_store_memory::MemoryStore;
use tokio::net::TcpSocket;

use crate::{
    app::{self, AppError, app},
    config::Config,
    database::DatabaseError,
    greeting::greet,
    store::Store,
};

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
    #[error("could not build the library with these settings")]
    Build(#[from] BuildError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error("could not start with this store")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServerError`] says what could not be done.
pub async fn run(config: Config) -> Result<(), ServerError> {
    // Before the address is printed: a program that reads it may send the signal at once.
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
    // Not earlier: a load balancer that can connect sends requests.
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

/// The document that a server with this configuration shows.
///
/// # Errors
/// [`ServerError::Build`] if the settings do not fit together.
pub fn openapi(config: &Config) -> Result<serde_json::Value, ServerError> {
    let store = Store::Memory(MemoryStore::new());
    let base = format!("http://{}", config.listen);
    let credentials = credentials(&store, config, &base)?;
    Ok(app::openapi(&credentials).document())
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

fn credentials(store: &Store, config: &Config, base: &str) -> Result<Credentials, ServerError> {
    for warning in config.catalog.warnings() {
        tracing::warn!(%warning, "something in the catalogue has no effect");
    }
    if config.trusted_proxies.texts().any(|it| it.ends_with("/0")) {
        tracing::warn!(
            "--trusted-proxies names everybody: every caller can choose the address that it comes from"
        );
    }
    let mut builder = Credentials::builder(store.shared())
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
    if let Some(longest) = config.max_lifetime {
        builder = builder.max_lifetime(longest);
    }
    if let Some(on) = config.self_service {
        builder = builder.self_service(on);
    }
    if config.outbound {
        builder = builder.fetch(Arc::new(HttpsFetch::new()));
    }
    Ok(builder.build()?)
}
