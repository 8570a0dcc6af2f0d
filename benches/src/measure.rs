//! How figures are measured: in short slices, alternating between the subject and its baselines, so that a
//! drift of the machine's speed affects all of them. The figure is the median.

use std::{
    fs,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use crate::Error;

/// The time.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// The value of a future that never waits, polled without a runtime, as a caller inside one polls it.
///
/// # Panics
/// If the future waits, because the caches were not warm.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the caches were not warm"),
    }
}

/// As [`ready`], for threads that others may delay: polls until there is a value.
pub fn ready_soon<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::yield_now(),
        }
    }
}

/// Nanoseconds of one call, as the median of `batches` batches of `calls` calls.
#[expect(clippy::cast_precision_loss, reason = "a count for people")]
pub fn nanos_each(batches: usize, calls: usize, mut call: impl FnMut()) -> f64 {
    let batch = |_| {
        let began = now();
        for _ in 0..calls {
            call();
        }
        began.elapsed().as_nanos() as f64 / calls as f64
    };
    Samples::new((0..batches).map(batch).collect()).median()
}

/// Runs the slices in turn, `rounds` times. Each returns its figure.
pub fn in_turn<const N: usize>(
    rounds: usize,
    mut slices: [&mut dyn FnMut() -> f64; N],
) -> Rounds<N> {
    // Once without counting: what is cold then is not what is measured.
    for slice in &mut slices {
        slice();
    }
    let rounds = (0..rounds)
        .map(|_| slices.each_mut().map(|slice| slice()))
        .collect();
    Rounds(rounds)
}

/// The figures of each slice of each round.
#[derive(Debug, Clone)]
pub struct Rounds<const N: usize>(pub Vec<[f64; N]>);

impl<const N: usize> Rounds<N> {
    /// The median figure of a slice.
    #[must_use]
    pub fn median<const SLICE: usize>(&self) -> f64 {
        const { assert!(SLICE < N, "there is such a slice") };
        Samples::new(self.0.iter().map(|round| round[SLICE]).collect()).median()
    }

    /// The median over the rounds of one slice's figure divided by another's in the same round.
    #[must_use]
    pub fn ratio<const SLICE: usize, const TO: usize>(&self) -> f64 {
        const { assert!(SLICE < N && TO < N, "there are such slices") };
        let ratios = self.0.iter().map(|round| round[SLICE] / round[TO]);
        Samples::new(ratios.collect()).median()
    }
}

/// Figures in ascending order.
#[derive(Debug, Clone)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Takes figures in any order.
    #[must_use]
    pub fn new(mut figures: Vec<f64>) -> Self {
        figures.sort_unstable_by(f64::total_cmp);
        Self(figures)
    }

    /// The middle one.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.percentile(0.5)
    }

    /// The quantile at `share`; not a number if there are no figures.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index within the length"
    )]
    #[must_use]
    pub fn percentile(&self, share: f64) -> f64 {
        let index = (self.0.len() as f64 * share) as usize;
        let last = self.0.len().saturating_sub(1);
        self.0.get(index.min(last)).copied().unwrap_or(f64::NAN)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What Linux reports about a process.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    /// Its id; `None`: this one.
    pub id: Option<u32>,
}

impl Process {
    /// Bytes in memory now.
    ///
    /// # Errors
    /// The process has ended, or this is not Linux.
    pub fn resident(self) -> Result<u64, Error> {
        self.status("VmRSS:")
    }

    /// The most bytes that were in memory at a time.
    ///
    /// # Errors
    /// The process has ended, or this is not Linux.
    pub fn largest_resident(self) -> Result<u64, Error> {
        self.status("VmHWM:")
    }

    /// Processor time that it used, in all its threads.
    ///
    /// # Errors
    /// The process has ended, or this is not Linux.
    pub fn used(self) -> Result<Duration, Error> {
        // Fixed in Linux's interface on all common processors.
        const TICKS_PER_SECOND: u64 = 100;
        let stat = fs::read_to_string(self.file("stat"))?;
        // The name, in parentheses, may hold anything; state and ten numbers follow it.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = rest.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<_, _>>()?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    fn status(self, name: &str) -> Result<u64, Error> {
        let status = fs::read_to_string(self.file("status"))?;
        let kibibytes = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
            .ok_or_else(|| format!("no {name} in the process's status"))?;
        Ok(kibibytes.parse::<u64>()? * 1024)
    }

    fn file(self, name: &str) -> String {
        match self.id {
            Some(id) => format!("/proc/{id}/{name}"),
            None => format!("/proc/self/{name}"),
        }
    }
}
