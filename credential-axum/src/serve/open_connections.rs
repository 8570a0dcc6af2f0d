//! The connections that are open, what each is waiting for, and since when.
//!
//! One task checks all of them twice a second. Connections have no timers of their own, so a
//! request costs a mark and no timer.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use tokio::{sync::Notify, time::MissedTickBehavior};

use super::{config::ServeConfig, stop::Stop};

/// The interval at which bounds are checked, and so their precision.
const TICK: Duration = Duration::from_millis(500);

/// How long a connection that has not sent anything yet is waited for when the server ends: its
/// request may be on its way.
const FIRST_REQUEST_WITHIN: u32 = 2;

/// What is kept of a request's head that is not complete, and about what is kept of an answer that
/// is not read. A connection needs 10 to 20 KiB besides.
const BUFFER: usize = 64 * 1024;

/// The shared state of all connections.
pub(super) struct Open {
    pub(super) app: Router,
    pub(super) http: http1::Builder,
    /// Once it has fired, answers say `Connection: close`.
    pub(super) stop: Stop,
    finishing: AtomicBool,
    config: ServeConfig,
    /// Time since the start, in ticks.
    now: AtomicU32,
    all: Mutex<All>,
    closed: Notify,
}

#[derive(Default)]
struct All {
    connections: HashMap<u64, Arc<Connection>>,
    next: u64,
}

/// One connection, as others see it.
pub(super) struct Connection {
    mark: AtomicU64,
    orders: AtomicU8,
    pub(super) told: Notify,
}

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    /// The client's first request.
    First,
    /// The client's end, after the last answer.
    Lingering,
    /// The client's body.
    Body,
    /// The client, who reads the answer.
    Answering,
    /// The client's next request.
    Idle,
    /// The server.
    Working,
}

impl Phase {
    fn of(byte: u8) -> Self {
        [
            Self::First,
            Self::Lingering,
            Self::Body,
            Self::Answering,
            Self::Idle,
        ]
        .into_iter()
        .find(|phase| *phase as u8 == byte)
        .unwrap_or(Self::Working)
    }
}

/// A phase and since when it, or the whole exchange, has lasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    /// In ticks. Of an exchange: its beginning.
    since: u32,
    /// Tells a late mark of an earlier exchange from the present one.
    exchange: u16,
    phase: Phase,
}

impl Mark {
    fn pack(self) -> u64 {
        u64::from(self.since) << 32 | u64::from(self.exchange) << 8 | u64::from(self.phase as u8)
    }

    fn unpack(packed: u64) -> Self {
        let [s0, s1, s2, s3, _, e0, e1, phase] = packed.to_be_bytes();
        Self {
            since: u32::from_be_bytes([s0, s1, s2, s3]),
            exchange: u16::from_be_bytes([e0, e1]),
            phase: Phase::of(phase),
        }
    }
}

/// The orders to a connection.
mod order {
    /// End now.
    pub(super) const CUT: u8 = 1;
    /// End after what runs.
    pub(super) const FINISH: u8 = 2;
    /// Give up the request's body.
    pub(super) const LATE: u8 = 4;
    /// Linger after the end.
    pub(super) const LINGER: u8 = 8;
}

impl Connection {
    fn new(now: u32) -> Self {
        let mark = Mark {
            since: now,
            exchange: 0,
            phase: Phase::First,
        };
        Self {
            mark: AtomicU64::new(mark.pack()),
            orders: AtomicU8::new(0),
            told: Notify::new(),
        }
    }

    fn mark(&self) -> Mark {
        Mark::unpack(self.mark.load(Ordering::Relaxed))
    }

    pub(super) fn phase(&self) -> Phase {
        self.mark().phase
    }

    /// The phase of this exchange changes; without effect if there is a later exchange already.
    pub(super) fn step(&self, exchange: u16, phase: Phase) {
        let _ = self
            .mark
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
                let mark = Mark::unpack(packed);
                (mark.exchange == exchange).then(|| Mark { phase, ..mark }.pack())
            });
    }

    fn order(&self, order: u8) {
        self.orders.fetch_or(order, Ordering::Relaxed);
        self.told.notify_one();
    }

    fn has(&self, order: u8) -> bool {
        self.orders.load(Ordering::Relaxed) & order != 0
    }

    pub(super) fn is_cut(&self) -> bool {
        self.has(order::CUT)
    }

    pub(super) fn finishes(&self) -> bool {
        self.has(order::FINISH)
    }

    pub(super) fn body_is_late(&self) -> bool {
        self.has(order::LATE)
    }

    pub(super) fn lingers(&self) -> bool {
        self.has(order::LINGER)
    }

    pub(super) fn waits_for_head(&self) -> bool {
        matches!(self.phase(), Phase::First | Phase::Idle)
    }

    /// From now on the end of this connection must not reset it: its client may still send.
    pub(super) fn linger(&self) {
        self.orders.fetch_or(order::LINGER, Ordering::Relaxed);
    }
}

/// A connection in the list of all, until it is dropped.
pub(super) struct Listed {
    id: u64,
    pub(super) peer: SocketAddr,
    pub(super) open: Arc<Open>,
    pub(super) connection: Arc<Connection>,
}

impl Listed {
    /// A request has come. Returns the number of its exchange.
    pub(super) fn begin(&self) -> u16 {
        let exchange = self.connection.mark().exchange.wrapping_add(1);
        self.set(exchange, Phase::Working);
        exchange
    }

    /// The exchange is over: the next request is waited for.
    pub(super) fn idle(&self, exchange: u16) {
        if self.connection.mark().exchange == exchange {
            self.set(exchange, Phase::Idle);
        }
    }

    pub(super) fn lingering(&self) {
        let exchange = self.connection.mark().exchange;
        self.set(exchange, Phase::Lingering);
    }

    fn set(&self, exchange: u16, phase: Phase) {
        let mark = Mark {
            since: self.open.now.load(Ordering::Relaxed),
            exchange,
            phase,
        };
        self.connection.mark.store(mark.pack(), Ordering::Relaxed);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.open.lock().connections.remove(&self.id);
        self.open.closed.notify_one();
    }
}

impl Open {
    pub(super) fn new(app: Router, config: ServeConfig, stop: Stop) -> Self {
        let mut http = http1::Builder::new();
        // Answers are short: copying one behind its head costs less than writing two pieces.
        // Each setting of hyper was measured (docs/performance.md); one paid.
        http.writev(false)
            .max_buf_size(BUFFER)
            // `keep_bounds` does that.
            .header_read_timeout(None);
        Self {
            app,
            http,
            stop,
            finishing: AtomicBool::new(false),
            config,
            now: AtomicU32::new(0),
            all: Mutex::default(),
            closed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(self: &Arc<Self>, peer: SocketAddr) -> Arc<Listed> {
        let connection = Arc::new(Connection::new(self.now.load(Ordering::Relaxed)));
        let mut all = self.lock();
        let id = all.next;
        all.next += 1;
        all.connections.insert(id, Arc::clone(&connection));
        drop(all);
        if self.finishing.load(Ordering::Relaxed) {
            connection.order(order::FINISH);
        }
        Arc::new(Listed {
            id,
            peer,
            open: Arc::clone(self),
            connection,
        })
    }

    /// Waits until there is room for another connection.
    pub(super) async fn make_room(&self) {
        while self.is_full() {
            self.closed.notified().await;
        }
    }

    /// Whether there are as many connections as there may be. If so, some are told to end.
    fn is_full(&self) -> bool {
        let all = self.lock();
        let most = self.config.max_connections;
        if all.connections.len() < most {
            return false;
        }
        // Why several: a flood of new connections then costs one search per batch.
        let batch = 1 + most / 64;
        let mut waiting: Vec<_> = all
            .connections
            .iter()
            .filter(|(_, connection)| !connection.is_cut())
            .map(|(id, connection)| (connection.mark(), *id, connection))
            .filter(|(mark, _, _)| mark.phase != Phase::Working)
            .map(|(mark, id, connection)| ((mark.phase == Phase::Idle, mark.since, id), connection))
            .collect();
        if batch < waiting.len() {
            waiting.select_nth_unstable_by_key(batch, |(key, _)| *key);
            waiting.truncate(batch);
        }
        for (_, connection) in waiting {
            connection.order(order::CUT);
        }
        true
    }

    /// Ends every connection after what runs on it, and waits for that.
    pub(super) async fn finish(&self) {
        self.finishing.store(true, Ordering::Relaxed);
        let now = self.now.load(Ordering::Relaxed);
        for connection in self.lock().connections.values() {
            let mark = connection.mark();
            if mark.phase == Phase::First {
                // Its request may be on its way: the wait begins now.
                let from_now = Mark { since: now, ..mark };
                let _ = connection.mark.compare_exchange(
                    mark.pack(),
                    from_now.pack(),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
            connection.order(order::FINISH);
        }
        while !self.lock().connections.is_empty() {
            self.closed.notified().await;
        }
    }

    /// Ends, for ever, connections that exceed a bound.
    pub(super) async fn keep_bounds(&self) {
        let mut ticks = tokio::time::interval(TICK);
        // After the whole process was stopped, connections that had no chance are not out of
        // bounds.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let now = self.now.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            for connection in self.lock().connections.values() {
                self.keep_bound(connection, now);
            }
        }
    }

    fn keep_bound(&self, connection: &Connection, now: u32) {
        let mark = connection.mark();
        let lasted = now.wrapping_sub(mark.since);
        let over = |bound: Duration| lasted > ticks(bound);
        let finishing = self.finishing.load(Ordering::Relaxed);
        match mark.phase {
            Phase::First if finishing && lasted > FIRST_REQUEST_WITHIN => {
                connection.order(order::CUT);
            }
            Phase::First | Phase::Idle if over(self.config.head_within) => {
                connection.order(order::CUT);
            }
            Phase::Body | Phase::Answering | Phase::Working
                if over(self.config.exchange_within) =>
            {
                connection.order(order::CUT);
            }
            Phase::Body if over(self.config.body_within) && !connection.body_is_late() => {
                connection.order(order::LATE);
            }
            // `Lingering` has a bound of its own.
            _ => {}
        }
    }
}

/// A duration in whole ticks, rounded up.
fn ticks(bound: Duration) -> u32 {
    let ticks = bound.as_millis().div_ceil(TICK.as_millis());
    u32::try_from(ticks).unwrap_or(u32::MAX)
}
