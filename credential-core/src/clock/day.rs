//! Dates in UTC.

use std::fmt::{self, Debug, Display};

use super::Timestamp;

const MICROS: i64 = 86_400_000_000;

/// A date in UTC, as a number of days since 1970-01-01, within the years 1 to 9999. Written as RFC 3339
/// writes it: `2026-01-31`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    /// The date so many days after (negative: before) 1970-01-01, held to the years 1 to 9999.
    #[must_use]
    pub fn from_days(days: i32) -> Self {
        Self(days.clamp(Timestamp::MIN.day().0, Timestamp::MAX.day().0))
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn as_days(self) -> i32 {
        self.0
    }

    /// Earlier by so many days.
    #[must_use]
    pub fn minus(self, days: u16) -> Self {
        Self::from_days(self.0.saturating_sub(days.into()))
    }

    /// The next date.
    #[must_use]
    pub fn after(self) -> Self {
        Self::from_days(self.0.saturating_add(1))
    }

    /// Its first moment.
    #[must_use]
    pub fn begins(self) -> Timestamp {
        Timestamp::from_micros(i64::from(self.0).saturating_mul(MICROS))
    }
}

impl Timestamp {
    /// The date, in UTC.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the days of the years 1 to 9999 fit"
    )]
    pub const fn day(self) -> Day {
        Day(self.as_micros().div_euclid(MICROS) as i32)
    }
}

impl Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.begins().to_string();
        f.write_str(first.split('T').next().unwrap_or_default())
    }
}

impl Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lasts_from_midnight_to_midnight() {
        for (at, day) in [
            ("2026-01-31T00:00:00Z", "2026-01-31"),
            ("2026-01-31T23:59:59.999999Z", "2026-01-31"),
            ("1969-12-31T23:59:59.999999Z", "1969-12-31"),
            ("0001-01-01T00:00:00Z", "0001-01-01"),
            ("9999-12-31T23:59:59Z", "9999-12-31"),
        ] {
            let at: Timestamp = at.parse().unwrap();
            assert_eq!(at.day().to_string(), day);
            assert!(at.day().begins() <= at);
            assert_eq!(Day::from_days(at.day().as_days()), at.day());
        }
        assert_eq!(
            Day::from_days(0).minus(30).to_string(),
            "1969-12-02",
            "across a year"
        );
        assert_eq!(Day::from_days(i32::MIN), Timestamp::MIN.day());
    }
}
