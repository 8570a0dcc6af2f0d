//! Time: dates for people and records, a monotonic clock for freshness.

mod day;

use std::{
    fmt::{self, Debug, Display},
    str::FromStr,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

pub use self::day::Day;

/// A moment in UTC, in microseconds since the Unix epoch, which is what `timestamptz` keeps.
///
/// Always within the years 1 to 9999, so that it has an RFC 3339 form: `2026-01-31T12:00:00Z`, or
/// with six digits when there is a fraction of a second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// `0001-01-01T00:00:00Z`, the earliest moment.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// `9999-12-31T23:59:59.999999Z`, the latest moment.
    pub const MAX: Self = Self(253_402_300_799_999_999);
    /// `1970-01-01T00:00:00Z`.
    pub const UNIX_EPOCH: Self = Self(0);

    /// The moment so many microseconds after (negative: before) the Unix epoch, held to
    /// [`MIN`](Self::MIN) and [`MAX`](Self::MAX).
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Reads a date and time of RFC 3339 §5.6 with any offset; digits below a microsecond are
    /// dropped.
    ///
    /// # Errors
    /// If the text is not of that form or lies, in UTC, outside the years 1 to 9999.
    pub fn parse_rfc3339(text: &str) -> Result<Self, ParseTimestampError> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| ParseTimestampError)?;
        let micros = parsed.unix_timestamp_nanos().div_euclid(1_000);
        let at = i64::try_from(micros).map_err(|_| ParseTimestampError)?;
        Self::in_range(at).ok_or(ParseTimestampError)
    }

    /// Later by `duration` (truncated to microseconds); `None` beyond [`MAX`](Self::MAX).
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let micros = i64::try_from(duration.as_micros()).ok()?;
        Self::in_range(self.0.checked_add(micros)?)
    }

    /// Earlier by `duration` (truncated to microseconds); `None` before [`MIN`](Self::MIN).
    #[must_use]
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        let micros = i64::try_from(duration.as_micros()).ok()?;
        Self::in_range(self.0.checked_sub(micros)?)
    }

    /// Later by `duration`, at most [`MAX`](Self::MAX).
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        self.checked_add(duration).unwrap_or(Self::MAX)
    }

    /// Earlier by `duration`, at least [`MIN`](Self::MIN).
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        self.checked_sub(duration).unwrap_or(Self::MIN)
    }

    /// The time since `earlier`, zero if that is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        // Both lie within the range, so the difference fits.
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    fn in_range(micros: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0)
            .contains(&micros)
            .then_some(Self(micros))
    }
}

impl Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .map_err(|_| fmt::Error)?;
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second, micro) = at.to_hms_micro();
        let month = u8::from(month);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if micro != 0 {
            write!(f, ".{micro:06}")?;
        }
        f.write_str("Z")
    }
}

impl Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse_rfc3339(text)
    }
}

/// The text is not a date and time of RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date and time within the years 1 to 9999, such as `2026-01-31T12:00:00Z`")]
pub struct ParseTimestampError;

/// Nanoseconds on a clock that never goes back and goes on while the machine is suspended.
///
/// Only differences mean anything, and only within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// A reading of so many nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since an arbitrary start. The counter lasts 584 years.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole microseconds. The counter's end fits.
    fn as_micros(self) -> i64 {
        i64::try_from(self.0 / 1_000).unwrap_or(i64::MAX)
    }

    /// The time since `earlier`, zero if that is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Later by `duration`, at most the end of the counter.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// The time, as the core sees it.
///
/// Both are read anew at each call. A clock that a ticker advances would let a stalled ticker
/// prolong what has expired.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The date and time. It may jump when the machine's clock is corrected.
    fn now(&self) -> Timestamp;

    /// A reading that never goes back, for measuring how old something is.
    fn monotonic(&self) -> Monotonic;

    /// Both, at the cost of about one reading. The date may follow a correction of the machine's
    /// clock up to 10 ms later than [`now`](Self::now) does.
    fn both(&self) -> (Timestamp, Monotonic) {
        (self.now(), self.monotonic())
    }
}

const _: fn(&dyn Clock) = |_| {}; // stays usable as `Arc<dyn Clock>`

/// The machine's clocks.
///
/// [`monotonic`](Clock::monotonic) is `CLOCK_BOOTTIME` on Linux, which counts suspend; elsewhere it
/// is [`std::time::Instant`], and whether that counts suspend is up to the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// The offset between the date and the monotonic clock, as it was measured a moment ago.
///
/// Why: a reading of either clock takes as long as a look-up. Between two measurements the date
/// advances with the monotonic clock, so expiry does not depend on the next measurement.
#[derive(Debug)]
struct DateOffset {
    micros: AtomicI64,
    /// When it was measured, in monotonic nanoseconds; 0: never.
    found_at: AtomicU64,
}

static DATE_OFFSET: DateOffset = DateOffset {
    micros: AtomicI64::new(0),
    found_at: AtomicU64::new(0),
};

impl DateOffset {
    /// How soon a correction of the machine's clock is seen.
    const HOLDS: Duration = Duration::from_millis(10);
    /// Readings further apart than this give no usable offset.
    const CLOSE: Duration = Duration::from_micros(20);

    #[inline]
    fn date_at(&self, monotonic: Monotonic) -> Option<Timestamp> {
        let found_at = Monotonic(self.found_at.load(Ordering::Acquire));
        let holds = found_at.0 != 0
            && found_at <= monotonic
            && monotonic.saturating_since(found_at) < Self::HOLDS;
        holds.then(|| {
            let offset = self.micros.load(Ordering::Relaxed);
            Timestamp::from_micros(monotonic.as_micros().saturating_add(offset))
        })
    }

    /// Threads may do this concurrently. Any offset that remains was right a moment ago.
    fn find(&self, clock: &dyn Clock) -> (Timestamp, Monotonic) {
        let before = clock.monotonic();
        let now = clock.now();
        let after = clock.monotonic();
        if after.saturating_since(before) <= Self::CLOSE {
            // `now` lies between the two readings, so the offset is wrong by less than their
            // distance.
            let offset = now.as_micros().saturating_sub(before.as_micros());
            self.micros.store(offset, Ordering::Relaxed);
            self.found_at.store(before.0, Ordering::Release);
        }
        (now, before)
    }
}

impl Clock for SystemClock {
    #[inline]
    fn both(&self) -> (Timestamp, Monotonic) {
        let monotonic = self.monotonic();
        match DATE_OFFSET.date_at(monotonic) {
            Some(now) => (now, monotonic),
            None => DATE_OFFSET.find(self),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door to the system clock"
    )]
    fn now(&self) -> Timestamp {
        let micros = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            // Before 1970. Rounded away from the epoch: a truncated time is never in the future.
            Err(before) => i64::try_from(before.duration().as_nanos().div_ceil(1_000))
                .map_or(i64::MIN, |micros| -micros),
        };
        Timestamp::from_micros(micros)
    }

    #[cfg(target_os = "linux")]
    fn monotonic(&self) -> Monotonic {
        let read = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(read.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(read.tv_nsec).unwrap_or(0);
        Monotonic(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door to the system clock"
    )]
    fn monotonic(&self) -> Monotonic {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let start = START.get_or_init(std::time::Instant::now);
        Monotonic(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::ManualClock;

    proptest! {
        #[test]
        fn text_reads_back(micros in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let at = Timestamp::from_micros(micros);
            prop_assert_eq!(at.to_string().parse(), Ok(at));
        }
    }

    #[test]
    fn text_is_utc_with_six_digits_or_none() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_769_860_800_500_000, "2026-01-31T12:00:00.500000Z"),
            (Timestamp::MIN.0, "0001-01-01T00:00:00Z"),
            (Timestamp::MAX.0, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(Timestamp::from_micros(micros).to_string(), text);
            assert_eq!(Timestamp::parse_rfc3339(text), Ok(Timestamp(micros)));
        }
    }

    #[test]
    fn offsets_are_converted_and_nanoseconds_dropped() {
        let utc = Timestamp::parse_rfc3339("2026-01-31T12:00:00.123456Z").unwrap();
        for text in [
            "2026-01-31T14:00:00.123456+02:00",
            "2026-01-31T12:00:00.123456789Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), Ok(utc));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-02-30T12:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "1769860800",
        ] {
            assert_eq!(
                Timestamp::parse_rfc3339(text),
                Err(ParseTimestampError),
                "{text}"
            );
        }
    }

    #[test]
    fn sums_stop_at_the_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(Timestamp::MAX.checked_add(second), None);
        assert_eq!(Timestamp::MAX.saturating_add(second), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.checked_sub(second), None);
        assert_eq!(Timestamp::MIN.saturating_sub(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::from_micros(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_micros(i64::MIN), Timestamp::MIN);
        let later = Timestamp::UNIX_EPOCH.saturating_add(second);
        assert_eq!(later.as_micros(), 1_000_000);
        assert_eq!(later.saturating_since(Timestamp::UNIX_EPOCH), second);
        assert_eq!(
            Timestamp::UNIX_EPOCH.saturating_since(later),
            Duration::ZERO
        );
        assert_eq!(
            Monotonic::from_nanos(5).saturating_since(Monotonic::from_nanos(7)),
            Duration::ZERO
        );
    }

    #[test]
    fn the_system_clock_is_plausible() {
        let clock = SystemClock;
        assert!(clock.now() > Timestamp::parse_rfc3339("2025-01-01T00:00:00Z").unwrap());
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
    }

    #[test]
    fn both_readings_together_say_what_each_says_alone() {
        let clock = SystemClock;
        for _ in 0..1_000 {
            let earliest = (clock.now(), clock.monotonic());
            let (now, monotonic) = clock.both();
            let latest = (clock.now(), clock.monotonic());
            // The offset may be found up to 20 µs apart, and the date is in whole microseconds.
            let slack = DateOffset::CLOSE + Duration::from_micros(1);
            assert!(
                now.saturating_add(slack) >= earliest.0,
                "{now} {earliest:?}"
            );
            assert!(now <= latest.0.saturating_add(slack), "{now} {latest:?}");
            assert!(earliest.1 <= monotonic && monotonic <= latest.1);
        }
    }

    #[test]
    fn a_date_offset_is_found_anew_once_it_is_old() {
        let offset = DateOffset {
            micros: AtomicI64::new(0),
            found_at: AtomicU64::new(0),
        };
        let clock = ManualClock::new();
        assert_eq!(
            offset.date_at(clock.monotonic()),
            None,
            "none was found yet"
        );
        assert_eq!(offset.find(&clock), (clock.now(), clock.monotonic()));
        let tick = Duration::from_micros(1);
        clock.advance(DateOffset::HOLDS.saturating_sub(tick));
        assert_eq!(offset.date_at(clock.monotonic()), Some(clock.now()));
        // The machine's clock is set back: seen once the offset is too old to be used.
        clock.set_now(clock.now().saturating_sub(Duration::from_secs(3_600)));
        clock.advance(tick);
        assert_eq!(offset.date_at(clock.monotonic()), None);
        offset.find(&clock);
        assert_eq!(offset.date_at(clock.monotonic()), Some(clock.now()));
    }

    #[test]
    fn the_manual_clock_moves_only_by_hand() {
        let clock = ManualClock::new();
        let (now, monotonic) = (clock.now(), clock.monotonic());
        assert_eq!((clock.now(), clock.monotonic()), (now, monotonic));
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(
            clock.now().saturating_since(now),
            Duration::from_millis(1_500)
        );
        assert_eq!(
            clock.monotonic().saturating_since(monotonic),
            Duration::from_millis(1_500)
        );
        // A corrected wall clock does not move the monotonic one.
        let before = clock.monotonic();
        clock.set_now(now);
        assert_eq!((clock.now(), clock.monotonic()), (now, before));
    }
}
