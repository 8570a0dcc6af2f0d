//! Figures beside their budgets: a table for people, or a JSON object per line.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
};

use serde_json::{Map, Value};

use crate::Error;

/// A column of a [`Report`].
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in JSON.
    pub key: &'static str,
    /// Its head in the table.
    pub title: &'static str,
    /// Characters, at least; negative: aligned to the left; 0: in JSON alone.
    pub width: isize,
}

/// Writes a column in one line.
#[must_use]
pub const fn column(key: &'static str, title: &'static str, width: isize) -> Column {
    Column { key, title, width }
}

/// One value of a row.
#[derive(Debug, Clone)]
pub enum Cell {
    /// There is none.
    Empty,
    /// A word.
    Text(String),
    /// A number, with that many decimals in the table.
    Number(f64, usize),
    /// A figure with its unit in the table; in JSON in the base unit.
    Figure(Figure),
    /// The budget.
    Budget(Budget),
    /// Whether the budget is met.
    Met(bool),
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

impl Cell {
    /// A count.
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    #[must_use]
    pub fn count(count: usize) -> Self {
        Self::Number(count as f64, 0)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Number(number, digits) => write!(f, "{number:.digits$}"),
            Self::Figure(figure) => figure.fmt(f),
            Self::Budget(budget) => budget.fmt(f),
            Self::Met(true) => f.write_str("met"),
            Self::Met(false) => f.write_str("MISSED"),
        }
    }
}

impl From<&Cell> for Value {
    fn from(cell: &Cell) -> Self {
        match cell {
            Cell::Empty => Self::Null,
            Cell::Number(number, _) => (*number).into(),
            Cell::Figure(figure) => figure.value.into(),
            Cell::Met(met) => (*met).into(),
            Cell::Text(_) | Cell::Budget(_) => cell.to_string().into(),
        }
    }
}

/// A number and what it counts.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// How many.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Nanos,
    /// Bytes.
    Bytes,
    /// So many in a second.
    PerSecond,
    /// So many times as much.
    Times,
    /// Things of that name.
    Of(&'static str),
}

impl Unit {
    /// The unit's name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nanos => "ns",
            Self::Bytes => "bytes",
            Self::PerSecond => "1/s",
            Self::Times => "x",
            Self::Of(things) => things,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: f64 = 1024.0;
        let Self { value, unit } = *self;
        match unit {
            Unit::Nanos if value < 1e3 => write!(f, "{value:.0} ns"),
            Unit::Nanos if value < 1e6 => write!(f, "{:.2} µs", value / 1e3),
            Unit::Nanos if value < 1e9 => write!(f, "{:.2} ms", value / 1e6),
            Unit::Nanos => write!(f, "{:.2} s", value / 1e9),
            Unit::Bytes if value < KIB * KIB => write!(f, "{:.2} KiB", value / KIB),
            Unit::Bytes => write!(f, "{:.1} MiB", value / KIB / KIB),
            Unit::PerSecond if value < 100.0 => write!(f, "{value:.1}/s"),
            Unit::PerSecond => write!(f, "{value:.0}/s"),
            Unit::Times => write!(f, "{value:.2}x"),
            Unit::Of(things) if value.fract() == 0.0 => write!(f, "{value:.0} {things}"),
            Unit::Of(things) => write!(f, "{value:.3} {things}"),
        }
    }
}

/// What a figure may be.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// No more than this.
    AtMost(Figure),
    /// No less than this.
    AtLeast(Figure),
    /// This, exactly.
    Exactly(Figure),
}

impl Budget {
    /// At most so many.
    #[must_use]
    pub const fn at_most(value: f64, unit: Unit) -> Self {
        Self::AtMost(Figure { value, unit })
    }

    /// At least so many.
    #[must_use]
    pub const fn at_least(value: f64, unit: Unit) -> Self {
        Self::AtLeast(Figure { value, unit })
    }

    /// So many, no more and no less.
    #[must_use]
    pub const fn exactly(value: f64, unit: Unit) -> Self {
        Self::Exactly(Figure { value, unit })
    }

    /// Whether a value in the budget's unit meets it. NaN never does.
    #[must_use]
    pub fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most.value,
            Self::AtLeast(least) => value >= least.value,
            Self::Exactly(exactly) => value.total_cmp(&exactly.value).is_eq(),
        }
    }

    fn unit(self) -> Unit {
        let (Self::AtMost(figure) | Self::AtLeast(figure) | Self::Exactly(figure)) = self;
        figure.unit
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(figure) => write!(f, "≤ {figure}"),
            Self::AtLeast(figure) => write!(f, "≥ {figure}"),
            Self::Exactly(figure) => write!(f, "= {figure}"),
        }
    }
}

/// Rows under one head, printed as they come.
#[derive(Debug)]
pub struct Report {
    columns: Vec<Column>,
    json: bool,
    began: bool,
    missed: bool,
}

impl Report {
    /// A report with these columns.
    #[must_use]
    pub fn new(json: bool, columns: impl Into<Vec<Column>>) -> Self {
        Self {
            columns: columns.into(),
            json,
            began: false,
            missed: false,
        }
    }

    /// A report of [`Line`]s.
    #[must_use]
    pub fn of_budgets(json: bool) -> Self {
        Self::new(
            json,
            [
                column("id", "id", -4),
                column("what", "what", -55),
                column("measured", "measured", 13),
                column("unit", "", 0),
                column("baseline", "baseline", 10),
                column("ratio", "ratio", 7),
                column("budget", "budget", 15),
                column("met", "", -6),
            ],
        )
    }

    /// Adds a row, with its cells in the order of the columns.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn row(&mut self, cells: &[Cell]) -> Result<(), Error> {
        self.missed |= cells.iter().any(|cell| matches!(cell, Cell::Met(false)));
        progress("");
        let mut out = io::stdout().lock();
        if self.json {
            let object: Map<_, _> = self
                .columns
                .iter()
                .zip(cells)
                .map(|(column, cell)| (column.key.to_owned(), cell.into()))
                .collect();
            writeln!(out, "{}", Value::Object(object))?;
        } else {
            if !self.began {
                let titles: Vec<_> = self.columns.iter().map(|column| column.title).collect();
                writeln!(out, "{}", self.line(&titles))?;
            }
            let texts: Vec<_> = cells.iter().map(Cell::to_string).collect();
            writeln!(out, "{}", self.line(&texts))?;
        }
        self.began = true;
        out.flush()?;
        Ok(())
    }

    /// Adds a figure with its budget, for a report [of budgets](Self::of_budgets).
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn add(&mut self, line: Line) -> Result<(), Error> {
        let Line {
            id,
            what,
            measured,
            baseline,
            ratio,
            budget,
        } = line;
        let met = budget.map(|budget| {
            budget.is_met_by(match (budget.unit(), ratio) {
                (Unit::Times, Some(ratio)) => ratio,
                _ => measured.value,
            })
        });
        self.row(&[
            id.into(),
            what.into(),
            Cell::Figure(measured),
            // In the table, the unit stands behind the figure.
            if self.json {
                measured.unit.name().into()
            } else {
                Cell::Empty
            },
            baseline.map_or(Cell::Empty, |value| {
                Cell::Figure(Figure { value, ..measured })
            }),
            ratio.map_or(Cell::Empty, |ratio| Cell::Number(ratio, 2)),
            budget.map_or(Cell::Empty, Cell::Budget),
            met.map_or(Cell::Empty, Cell::Met),
        ])
    }

    /// An empty line in front of a table that follows another one.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn gap(&self) -> Result<(), Error> {
        if !self.json {
            writeln!(io::stdout())?;
        }
        Ok(())
    }

    /// Whether every budget so far was met.
    #[must_use]
    pub fn all_met(&self) -> bool {
        !self.missed
    }

    fn line(&self, texts: &[impl AsRef<str>]) -> String {
        let shown = self.columns.iter().zip(texts).filter_map(|(column, text)| {
            let (text, width) = (text.as_ref(), column.width.unsigned_abs());
            match column.width {
                0 => None,
                ..0 => Some(format!("{text:<width$}")),
                _ => Some(format!("{text:>width$}")),
            }
        });
        let line = shown.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    }
}

/// A figure, its baseline and its budget.
#[derive(Debug, Clone)]
pub struct Line {
    /// The budget's number.
    pub id: &'static str,
    /// What was measured, by its parameters.
    pub what: String,
    /// The figure.
    pub measured: Figure,
    /// The baseline's, in the same unit.
    pub baseline: Option<f64>,
    /// The figure divided by the baseline's.
    pub ratio: Option<f64>,
    /// The budget: of the ratio, if its unit is [`Unit::Times`] and there is a ratio.
    pub budget: Option<Budget>,
}

impl Line {
    /// A figure alone.
    #[must_use]
    pub fn new(id: &'static str, what: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self {
            id,
            what: what.into(),
            measured: Figure { value, unit },
            baseline: None,
            ratio: None,
            budget: None,
        }
    }

    /// A count whose budget is an exact number.
    #[must_use]
    pub fn count(
        id: &'static str,
        what: impl Into<String>,
        count: f64,
        things: &'static str,
        budget: f64,
    ) -> Self {
        let unit = Unit::Of(things);
        Self::new(id, what, count, unit).within(Budget::exactly(budget, unit))
    }

    /// Beside a baseline.
    #[must_use]
    pub fn beside(mut self, baseline: f64, ratio: f64) -> Self {
        self.baseline = Some(baseline);
        self.ratio = Some(ratio);
        self
    }

    /// With a budget.
    #[must_use]
    pub fn within(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }
}

/// Shows progress on standard error, so that standard output has the figures alone. Empty: done.
pub fn progress(what: &str) {
    let mut err = io::stderr().lock();
    // Nobody is told of progress if standard error is closed.
    let _ = if err.is_terminal() {
        write!(err, "\r\x1b[K{what}").and_then(|()| err.flush())
    } else if what.is_empty() {
        Ok(())
    } else {
        writeln!(err, "{what}")
    };
}

/// As [`progress`], a few times in all, for the `done`th of so many steps.
pub fn progress_of(what: &str, done: usize, of: usize) {
    if done.is_multiple_of(of.div_ceil(20).max(1)) {
        progress(&format!("{what}: {done} of {of}"));
    }
}
