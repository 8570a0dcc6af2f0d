//! What each setting of a connection is worth: a host that serves with it, beside one that serves with
//! hyper's defaults, in turn.

use std::{sync::Arc, time::Duration};

use axum::Router;
use benches::{
    Error,
    measure::Samples,
    report::{Cell, Report, column, progress},
};
use clap::ValueEnum;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    Options,
    client::{Exchange, Group, drive},
    host::Host,
    setup::livez,
};

/// How connections are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Setting {
    /// `axum::serve`, with `TCP_NODELAY`.
    AxumServe,
    /// hyper's HTTP/1 connection as it is, with `TCP_NODELAY`: what the others are compared with.
    Defaults,
    /// The head of a request must come within 30 s.
    HeaderReadTimeout,
    /// Head and body are copied into one buffer.
    OneBuffer,
    /// Head and body are always written as a vector.
    Vectored,
    /// Answers to pipelined requests are written together.
    PipelineFlush,
    /// At most 16 KiB are buffered for a connection.
    SmallBuffer,
    /// A client may close its side and still be answered.
    HalfClose,
    /// At most 64 header fields; hyper then keeps them on the heap.
    MaxHeaders,
    /// Without `Date`, which RFC 9110 asks of a server that has a clock.
    NoDate,
    /// Without `TCP_NODELAY`.
    Nagle,
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, app: Router, setting: Setting) -> Result<(), Error> {
    let nodelay = move |stream: &TcpStream| stream.set_nodelay(setting != Setting::Nagle);
    let mut http = http1::Builder::new();
    match setting {
        Setting::AxumServe => {
            let listener = axum::serve::ListenerExt::tap_io(listener, move |stream| {
                let _ = nodelay(stream); // as the socket was, then
            });
            return Ok(axum::serve(listener, app).await?);
        }
        Setting::HeaderReadTimeout => {
            http.timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30));
        }
        Setting::OneBuffer => {
            http.writev(false);
        }
        Setting::Vectored => {
            http.writev(true);
        }
        Setting::PipelineFlush => {
            http.pipeline_flush(true);
        }
        Setting::SmallBuffer => {
            http.max_buf_size(16 * 1024);
        }
        Setting::HalfClose => {
            http.half_close(true);
        }
        Setting::MaxHeaders => {
            http.max_headers(64);
        }
        Setting::NoDate => {
            http.auto_date_header(false);
        }
        Setting::Defaults | Setting::Nagle => {}
    }
    let http = Arc::new(http);
    loop {
        let (stream, _) = listener.accept().await?;
        nodelay(&stream)?;
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
    }
}

pub async fn run(options: &Options) -> Result<(), Error> {
    let mut report = Report::new(
        options.json,
        [
            column("setting", "setting", -20),
            column("route", "route", -6),
            column("connections", "conns", 5),
            column("per_second", "per s", 8),
            column("ratio", "to defaults", 11),
            column("cpu_us", "cpu µs", 7),
            column("cpu_ratio", "to defaults", 11),
        ],
    );
    let (defaults, default_token) = start(Setting::Defaults)?;
    // The defaults beside themselves say how much of a ratio is noise.
    for setting in Setting::value_variants() {
        let named = setting.to_possible_value().ok_or("a setting has a name")?;
        if !named.get_name().contains(&options.only) {
            continue;
        }
        let (host, token) = start(*setting)?;
        for &connections in &options.connections {
            for (route, exchanges) in [
                ("livez", [livez(), livez()]),
                ("token", [default_token.clone(), token.clone()]),
            ] {
                let name = named.get_name();
                progress(&format!("{name}: {route} on {connections} connections …"));
                let [defaults, other] = [&defaults, &host];
                let figures = compare(options, connections, [defaults, other], exchanges).await?;
                report.row(&[
                    name.into(),
                    route.into(),
                    Cell::count(connections),
                    Cell::Number(figures.per_second, 0),
                    Cell::Number(figures.ratio, 3),
                    Cell::Number(figures.cpu_us, 1),
                    Cell::Number(figures.cpu_ratio, 3),
                ])?;
            }
        }
    }
    Ok(())
}

/// The medians of the second side, and of its ratios to the first.
struct Figures {
    per_second: f64,
    ratio: f64,
    cpu_us: f64,
    cpu_ratio: f64,
}

async fn compare(
    options: &Options,
    connections: usize,
    [defaults, other]: [&Host; 2],
    [of_defaults, of_other]: [Exchange; 2],
) -> Result<Figures, Error> {
    let time = options.slice();
    let mut defaults = Side::open(defaults, connections, of_defaults).await?;
    let mut other = Side::open(other, connections, of_other).await?;
    // Warms both up.
    defaults.slice(time / 5).await?;
    other.slice(time / 5).await?;
    let mut rounds = Vec::new();
    for _ in 0..options.slices() {
        // Each side comes first as often as second.
        let before = defaults.slice(time).await?;
        let first = other.slice(time).await?;
        let second = other.slice(time).await?;
        let after = defaults.slice(time).await?;
        rounds.extend([(before, first), (after, second)]);
    }
    let median = |figure: fn(&(Slice, Slice)) -> f64| {
        Samples::new(rounds.iter().map(figure).collect()).median()
    };
    Ok(Figures {
        per_second: median(|(_, other)| other.per_second),
        ratio: median(|(defaults, other)| other.per_second / defaults.per_second),
        cpu_us: median(|(_, other)| other.cpu_us),
        cpu_ratio: median(|(defaults, other)| other.cpu_us / defaults.cpu_us),
    })
}

fn start(setting: Setting) -> Result<(Host, Exchange), Error> {
    let (host, clients) = Host::start(0, setting)?;
    let token = clients.into_iter().next().ok_or("no client")?;
    Ok((host, token))
}

struct Side<'a> {
    host: &'a Host,
    group: Group,
}

struct Slice {
    per_second: f64,
    /// Of the host's processor time, for each request.
    cpu_us: f64,
}

impl<'a> Side<'a> {
    async fn open(host: &'a Host, connections: usize, exchange: Exchange) -> Result<Self, Error> {
        let connections = connections.clamp(1, 1024);
        let group = Group::open(&host.address, connections, vec![exchange]).await?;
        Ok(Self { host, group })
    }

    async fn slice(&mut self, time: Duration) -> Result<Slice, Error> {
        let before = self.host.process().used()?;
        let [slice] = drive([&mut self.group], time).await?;
        let used = self.host.process().used()?.saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        let requests = slice.latencies.len() as f64;
        Ok(Slice {
            per_second: slice.per_second,
            cpu_us: used.as_secs_f64() * 1e6 / requests,
        })
    }
}
