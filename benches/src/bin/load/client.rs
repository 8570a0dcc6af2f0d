//! Keep-alive connections that send one request after the other.

use std::time::{Duration, Instant};

use benches::Error;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::routes::Route;

/// What one route did in one stretch of time.
pub struct Slice {
    /// Microseconds of each request, ascending.
    latencies: Vec<u32>,
    took: Duration,
}

impl Slice {
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// The latency that `share` of the requests stayed below, in microseconds.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index within the length"
    )]
    pub fn percentile(&self, share: f64) -> u32 {
        let index = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(index).copied().unwrap_or(0)
    }
}

/// Drives a route on so many connections for so long.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub async fn drive(
    address: &str,
    route: &Route,
    connections: usize,
    time: Duration,
) -> Result<Slice, Error> {
    let mut senders = Vec::new();
    for _ in 0..connections {
        senders.push(connect(address).await?);
    }
    let began = Instant::now();
    let tasks: Vec<_> = senders
        .into_iter()
        .map(|mut sender| {
            let route = route.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while began.elapsed() < time {
                    let sent = Instant::now();
                    let response = send(&mut sender, route.request()?).await?;
                    if response.status() != route.expected {
                        return Err(Error::from(format!(
                            "{} answered {}",
                            route.name,
                            response.status()
                        )));
                    }
                    response.into_body().collect().await?;
                    latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                Ok::<_, Error>(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    latencies.sort_unstable();
    Ok(Slice {
        latencies,
        took: began.elapsed(),
    })
}

/// One request on a connection of its own, for setting up.
pub async fn once(
    address: &str,
    request: Request<Full<Bytes>>,
) -> Result<(http::response::Parts, Bytes), Error> {
    let mut sender = connect(address).await?;
    let (parts, body) = send(&mut sender, request).await?.into_parts();
    Ok((parts, body.collect().await?.to_bytes()))
}

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>, Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Error> {
    sender.ready().await?;
    Ok(sender.send_request(request).await?)
}
