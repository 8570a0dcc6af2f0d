//! Keep-alive connections that send one request after the other, as lean as they can be.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use benches::{
    Error,
    measure::{Samples, now},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

/// A request as it is sent, and the status that its answer must have.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub name: &'static str,
    pub request: Arc<[u8]>,
    pub expected: u16,
    /// Whether it may be told to come back (429) as well.
    rate_limited: bool,
}

impl Exchange {
    pub fn new(name: &'static str, request: Arc<[u8]>, expected: u16) -> Self {
        Self {
            name,
            request,
            expected,
            rate_limited: false,
        }
    }

    /// For a load that is more than its tenant's share.
    pub fn or_rate_limited(self) -> Self {
        Self {
            rate_limited: true,
            ..self
        }
    }
}

/// Renders a request.
pub fn render(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Arc<[u8]> {
    let mut fields: String = headers
        .iter()
        .flat_map(|(name, value)| [name, ": ", value, "\r\n"])
        .collect();
    if method != "GET" {
        fields.extend(["content-length: ", &body.len().to_string(), "\r\n"]);
    }
    let text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n{body}");
    text.into_bytes().into()
}

/// An answer: what follows each field is only kept until the next one.
#[derive(Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub head: &'a str,
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// One keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::with_capacity(16 * 1024),
        })
    }

    pub async fn open_many(address: &str, count: usize) -> Result<Vec<Self>, Error> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Self::open(address).await?);
        }
        Ok(connections)
    }

    /// Sends a request and reads the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, Error> {
        self.received.clear();
        self.stream.write_all(request).await?;
        let mut lengths = None;
        loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err("the server closed the connection".into());
            }
            if lengths.is_none() {
                lengths = lengths_of(&self.received)?;
            }
            if let Some((head, body)) = lengths
                && self.received.len() >= head + body
            {
                let (head, body) = self.received.split_at(head);
                let head = str::from_utf8(head)?;
                let status = head.get(9..12).ok_or("no status")?.parse()?;
                return Ok(Answer { status, head, body });
            }
        }
    }
}

/// The lengths of head and body, once the whole head is there.
fn lengths_of(received: &[u8]) -> Result<Option<(usize, usize)>, Error> {
    const END: &[u8] = b"\r\n\r\n";
    const LENGTH: &[u8] = b"content-length:";
    let Some(end) = received.windows(END.len()).position(|bytes| bytes == END) else {
        return Ok(None);
    };
    let (head, _) = received.split_at(end);
    let length = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(LENGTH.len())?;
        name.eq_ignore_ascii_case(LENGTH).then_some(value)
    });
    let body = match length {
        Some(length) => str::from_utf8(length)?.trim().parse()?,
        None => return Err("an answer does not say how long it is".into()),
    };
    Ok(Some((end + END.len(), body)))
}

/// Connections that send the same requests, the first the first one, and so on in turn.
#[derive(Debug)]
pub struct Group {
    pub connections: Vec<Connection>,
    pub exchanges: Vec<Exchange>,
}

impl Group {
    pub async fn open(
        address: &str,
        connections: usize,
        exchanges: Vec<Exchange>,
    ) -> Result<Self, Error> {
        Ok(Self {
            connections: Connection::open_many(address, connections).await?,
            exchanges,
        })
    }
}

/// What a group did in a stretch of time.
#[derive(Debug, Default)]
pub struct Slice {
    /// Microseconds of each request.
    pub latencies: Vec<f64>,
    pub per_second: f64,
}

impl Slice {
    pub fn of(latencies: Vec<f64>, took: Duration) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        let per_second = latencies.len() as f64 / took.as_secs_f64();
        Self {
            latencies,
            per_second,
        }
    }
}

/// Has every group send for so long, at the same time.
///
/// # Errors
/// A connection breaks, or an answer has another status than expected.
pub async fn drive<const N: usize>(
    mut groups: [&mut Group; N],
    time: Duration,
) -> Result<[Slice; N], Error> {
    let mut tasks = JoinSet::new();
    let began = now();
    for (number, group) in groups.iter_mut().enumerate() {
        let connections = std::mem::take(&mut group.connections);
        for (connection, exchange) in connections.into_iter().zip(group.exchanges.iter().cycle()) {
            let exchange = exchange.clone();
            tasks.spawn(async move {
                let (connection, latencies) = repeat(connection, &exchange, began, time).await?;
                Ok::<_, Error>((number, connection, latencies))
            });
        }
    }
    let mut slices = [const { (Vec::new(), Duration::ZERO) }; N];
    while let Some(ended) = tasks.join_next().await {
        let (number, connection, of_connection) = ended??;
        if let (Some(group), Some((latencies, took))) =
            (groups.get_mut(number), slices.get_mut(number))
        {
            group.connections.push(connection);
            latencies.extend(of_connection);
            // Until the group's own last answer: another group may be kept waiting.
            *took = began.elapsed();
        }
    }
    Ok(slices.map(|(latencies, took)| Slice::of(latencies, took)))
}

async fn repeat(
    mut connection: Connection,
    exchange: &Exchange,
    began: Instant,
    time: Duration,
) -> Result<(Connection, Vec<f64>), Error> {
    let mut latencies = Vec::with_capacity(16 * 1024);
    let mut sent = now();
    while sent.duration_since(began) < time {
        let status = connection.exchange(&exchange.request).await?.status;
        if status != exchange.expected && !(exchange.rate_limited && status == 429) {
            return Err(format!("{} answered {status}", exchange.name).into());
        }
        let received = now();
        latencies.push(received.duration_since(sent).as_secs_f64() * 1e6);
        sent = received;
    }
    Ok((connection, latencies))
}

/// The percentiles that are printed of latencies.
pub fn p50_and_p99(latencies: Vec<f64>) -> [f64; 2] {
    let latencies = Samples::new(latencies);
    [0.5, 0.99].map(|share| latencies.percentile(share))
}
