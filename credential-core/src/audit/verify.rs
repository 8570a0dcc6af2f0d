//! Verifying trails: which row is missing, was altered, or cannot be vouched for.
//!
//! A trail is walked from its newest row to its oldest, as the store pages, so a report is complete
//! only at the end. Nothing that one tenant's rows hold keeps another's from being verified.
//!
//! **Keys.** The keyring's order is the keys' order, the newest first. Once a key has signed a row, no
//! older key signs a later one. A row whose key the ring lacks proves nothing, and its key has no
//! place in the order. A key marked `tag` has leaked: whoever holds it can write rows that verify, so
//! what it signed counts only where a later row by a key that has not leaked covers it, or a head that
//! was kept elsewhere.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    str::FromStr,
};

use super::FORMAT;
use crate::{
    id::TenantId,
    secret::keyring::{KeyName, KeyRole, Keyring},
    store::{AuditQuery, StoreError, StoredHead, StoredRow, TrailStore},
};

/// Tenants, and rows, of one page.
const PAGE: usize = 500;

/// Why a store whose pages do not go on is not read any further.
const NOT_ASKED_FOR: &str = "the store answered with a page that was not asked for";

/// What verifying one tenant's trail found.
#[derive(Debug)]
pub struct TrailReport {
    /// Whose trail: a [`TenantId`], unless somebody wrote another text into the store.
    pub tenant: String,
    /// How many rows there are.
    pub rows: u64,
    /// The newest row's number and hash.
    pub head: Option<(u64, [u8; 32])>,
    /// The first row that is missing, was altered or is out of place.
    pub broken: Option<TrailFault>,
    /// The first row that nothing vouches for, though nothing shows that it was altered.
    pub unproven: Option<TrailFault>,
}

impl TrailReport {
    fn new(tenant: &str) -> Self {
        Self {
            tenant: tenant.to_owned(),
            rows: 0,
            head: None,
            broken: None,
            unproven: None,
        }
    }

    /// Whether every row was vouched for.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.broken.is_none() && self.unproven.is_none()
    }

    /// The line of [`Heads`] that keeps this trail's head; `None` if it has none or is not intact.
    #[must_use]
    pub fn head_line(&self) -> Option<String> {
        let (seq, hash) = self.head.filter(|_| self.is_intact())?;
        let mut line = format!("{} {seq} ", self.tenant);
        for byte in hash {
            // Writing to a string cannot fail.
            let _ = write!(line, "{byte:02x}");
        }
        Some(line)
    }
}

/// One line without a line end: the tenant, the number of its rows, and what was found.
impl fmt::Display for TrailReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} rows", self.tenant.escape_debug(), self.rows)?;
        if let Some(fault) = &self.broken {
            write!(f, ", BROKEN: {fault}")?;
        }
        if let Some(fault) = &self.unproven {
            write!(f, ", UNPROVEN: {fault}")?;
        }
        Ok(())
    }
}

/// What is wrong with a row of a trail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrailFault {
    /// It is not there, and rows behind it, the kept head or a head kept elsewhere say that it was.
    #[error("audit row {row} is missing")]
    Missing {
        /// Its number.
        row: u64,
    },
    /// Its hash is not that of what it says behind the row before.
    #[error("audit row {row} was altered, or does not follow the row before it")]
    Altered {
        /// Its number.
        row: u64,
    },
    /// It holds what core never wrote.
    #[error(
        "audit row {row} cannot be read: `{column}` holds a value that this software never writes"
    )]
    Unreadable {
        /// Its number.
        row: u64,
        /// Where.
        column: &'static str,
    },
    /// The store's text for a tenant is none.
    #[error("the tenant's name cannot be read, so neither can its trail")]
    UnreadableTenant,
    /// The newest row is not the one that the store keeps as the head.
    #[error("audit row {row} is the newest, but the head kept with the tenant is {}", head_text(*.kept))]
    OtherHead {
        /// The newest row's number.
        row: u64,
        /// The number of the kept head, if there is one.
        kept: Option<u64>,
    },
    /// An older key signed it than a row before it.
    #[error(
        "audit row {row} is signed with `{key}`, which is older than the key of a row before it"
    )]
    OlderKey {
        /// Its number.
        row: u64,
        /// Its key.
        key: KeyName,
    },
    /// A head that was kept elsewhere has another hash for it.
    #[error("audit row {row} is not the row whose head was kept elsewhere")]
    NotAsKept {
        /// Its number.
        row: u64,
    },
    /// The store failed while it was asked for the trail.
    #[error("the trail could not be read to its end: {reason}")]
    NotRead {
        /// What the store said.
        reason: String,
    },
    /// The keyring lacks the key that signed it. No sign that it was altered.
    #[error(
        "audit row {row} is signed with the unknown key `{key}`: it can be verified only with a \
         keyring that holds that key"
    )]
    UnknownKey {
        /// Its number.
        row: u64,
        /// The key that is missing.
        key: KeyName,
    },
    /// A newer version framed it.
    #[error("audit row {row} has format {format}, which this version cannot verify")]
    UnknownFormat {
        /// Its number.
        row: u64,
        /// Its format.
        format: u8,
    },
    /// A key marked `tag` signed it, and nothing that it could not have signed covers it.
    #[error(
        "audit row {row} and those behind it rest on `{key}`, a key marked `tag`: whoever holds it \
         can have written them; compare with heads kept elsewhere (--heads)"
    )]
    LeakedKey {
        /// Its number.
        row: u64,
        /// The key.
        key: KeyName,
    },
}

impl TrailFault {
    /// The number of the row; `None`: it is about the whole trail.
    #[must_use]
    pub fn row(&self) -> Option<u64> {
        match self {
            Self::Missing { row }
            | Self::Altered { row }
            | Self::Unreadable { row, .. }
            | Self::OtherHead { row, .. }
            | Self::OlderKey { row, .. }
            | Self::NotAsKept { row }
            | Self::UnknownKey { row, .. }
            | Self::UnknownFormat { row, .. }
            | Self::LeakedKey { row, .. } => Some(*row),
            Self::UnreadableTenant | Self::NotRead { .. } => None,
        }
    }
}

fn head_text(head: Option<u64>) -> String {
    head.map_or("missing".to_owned(), |seq| format!("row {seq}, or another"))
}

/// Heads of trails that were kept where a writer of the store cannot reach: lines `tenant seq hash`.
///
/// Several lines for one tenant are all compared. Blank lines, and lines that begin with `#`, are
/// skipped.
#[derive(Debug, Default)]
pub struct Heads(BTreeMap<String, BTreeMap<u64, [u8; 32]>>);

impl Heads {
    fn of(&self, tenant: &str) -> BTreeMap<u64, [u8; 32]> {
        self.0.get(tenant).cloned().unwrap_or_default()
    }
}

impl FromStr for Heads {
    type Err = HeadsError;

    fn from_str(text: &str) -> Result<Self, HeadsError> {
        let mut heads = Self::default();
        let lines = (1..).zip(text.lines().map(str::trim));
        for (line, text) in lines.filter(|(_, text)| !is_comment(text)) {
            let (tenant, seq, hash) = head(text).ok_or(HeadsError::Form { line })?;
            let kept = heads.0.entry(tenant).or_default();
            if kept.insert(seq, hash).is_some_and(|other| other != hash) {
                return Err(HeadsError::Contradiction { line });
            }
        }
        Ok(heads)
    }
}

/// A tenant's id may begin with `#` too: a comment has nothing visible right behind it.
fn is_comment(line: &str) -> bool {
    let behind = line.strip_prefix('#').map(|rest| rest.chars().next());
    line.is_empty() || behind.is_some_and(|next| next.is_none_or(char::is_whitespace))
}

fn head(line: &str) -> Option<(String, u64, [u8; 32])> {
    let mut parts = line.split_ascii_whitespace();
    let tenant = TenantId::new(parts.next()?).ok()?;
    let seq = parts.next()?.parse().ok().filter(|seq| *seq > 0)?;
    let hex = parts
        .next()
        .filter(|hex| hex.len() == 64 && hex.is_ascii())?;
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    parts
        .next()
        .is_none()
        .then(|| (tenant.as_str().to_owned(), seq, hash))
}

/// Why a text is no list of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadsError {
    /// A line of another form.
    #[error("line {line} is not `tenant seq hash`")]
    Form {
        /// Its number, from 1.
        line: usize,
    },
    /// Two lines have different hashes for one row.
    #[error("line {line} contradicts an earlier line")]
    Contradiction {
        /// Its number, from 1.
        line: usize,
    },
}

/// Verifies the trail of every tenant that the store or `heads` knows, and hands each report on as it
/// is ready.
///
/// # Errors
/// If the store does not answer which tenants there are. What is broken is in the reports, and so is
/// a trail that could not be read.
pub async fn verify_trails(
    store: &dyn TrailStore,
    keyring: &Keyring,
    heads: &Heads,
    mut each: impl FnMut(TrailReport),
) -> Result<(), StoreError> {
    // Those whose trail is gone: what stays of them was kept elsewhere.
    let mut gone = heads.0.clone();
    let mut after: Option<String> = None;
    loop {
        let tenants = store.audited_tenants(after.as_deref(), PAGE).await?;
        let (Some(first), Some(last)) = (tenants.first(), tenants.last().cloned()) else {
            break;
        };
        // Otherwise this would not end.
        if after.as_ref().is_some_and(|after| first <= after) {
            return Err(StoreError::Backend {
                source: NOT_ASKED_FOR.into(),
            });
        }
        after = Some(last);
        for tenant in tenants {
            gone.remove(&tenant);
            let walk = Walk::new(&tenant, keyring, heads.of(&tenant));
            let (report, read) = walk.through(store).await;
            each(report);
            if !read {
                // Asked anew, which fails at once if it is not this trail but the whole store.
                after = Some(tenant);
                break;
            }
        }
    }
    for (tenant, heads) in gone {
        each(Walk::new(&tenant, keyring, heads).finish(None));
    }
    Ok(())
}

/// On the way from a trail's newest row to its oldest.
struct Walk<'a> {
    keyring: &'a Keyring,
    report: TrailReport,
    /// The heads kept elsewhere that were not reached yet.
    heads: BTreeMap<u64, [u8; 32]>,
    /// The row that was reached last.
    last: Option<StoredRow>,
    /// The nearest later row whose key is known, and that key's place in the ring.
    later_key: Option<(u64, KeyName, usize)>,
    /// Whether something vouches for the rows from here on that a leaked key could not have made.
    covered: bool,
}

impl<'a> Walk<'a> {
    fn new(tenant: &str, keyring: &'a Keyring, heads: BTreeMap<u64, [u8; 32]>) -> Self {
        Self {
            keyring,
            report: TrailReport::new(tenant),
            heads,
            last: None,
            later_key: None,
            covered: false,
        }
    }

    /// Walks, and says whether the store answered to the end.
    async fn through(mut self, store: &dyn TrailStore) -> (TrailReport, bool) {
        let Ok(tenant) = TenantId::new(&self.report.tenant) else {
            self.report.broken = Some(TrailFault::UnreadableTenant);
            return (self.report, true);
        };
        let mut kept = None;
        loop {
            let before = self.last.as_ref().map(StoredRow::seq);
            if before == Some(0) {
                // Nothing is before it but what should not be there either.
                break;
            }
            let query = AuditQuery {
                credential_id: None,
                before,
                limit: PAGE,
            };
            match store.trail(&tenant, &query).await {
                Ok(page) => {
                    if before.is_none() {
                        kept = page.head;
                    }
                    let Some(newest) = page.rows.first().map(StoredRow::seq) else {
                        break;
                    };
                    if before.is_some_and(|before| newest >= before) {
                        let reason = NOT_ASKED_FOR.to_owned();
                        self.report.broken = Some(TrailFault::NotRead { reason });
                        return (self.report, false);
                    }
                    for row in page.rows {
                        self.reach(row);
                    }
                }
                Err(error) => {
                    let source = std::error::Error::source(&error);
                    let reason = source.map_or_else(|| error.to_string(), ToString::to_string);
                    self.report.broken = Some(TrailFault::NotRead { reason });
                    return (self.report, false);
                }
            }
        }
        (self.finish(kept.as_ref()), true)
    }

    /// Takes the next older row.
    fn reach(&mut self, row: StoredRow) {
        self.report.rows += 1;
        match self.last.take() {
            Some(newer) => self.check(newer, Some(&row)),
            None => self.report.head = Some((row.seq(), *row.hash().unwrap_or(&[0; 32]))),
        }
        self.last = Some(row);
    }

    /// There are no more rows; `kept` is the head that the store keeps beside them.
    fn finish(mut self, kept: Option<&StoredHead>) -> TrailReport {
        let newest = self.report.head;
        if let Some(oldest) = self.last.take() {
            self.check(oldest, None);
        }
        let end = newest.map_or(0, |(seq, _)| seq);
        let said = kept.map_or(0, |kept| kept.seq);
        let kept_elsewhere = self.heads.last_key_value().map_or(0, |(seq, _)| *seq);
        let same = kept
            .zip(newest)
            .is_some_and(|(kept, (seq, hash))| kept.seq == seq && kept.hash == hash);
        // Without a row as well: a tenant begins with its first event.
        if end < said.max(kept_elsewhere) || newest.is_none() {
            self.note(TrailFault::Missing { row: end + 1 });
        } else if !same {
            self.note(TrailFault::OtherHead {
                row: end,
                kept: kept.map(|kept| kept.seq),
            });
        }
        self.report
    }

    /// Checks a row behind the next older one.
    fn check(&mut self, row: StoredRow, older: Option<&StoredRow>) {
        let seq = row.seq();
        let event = match row {
            StoredRow::Event(event) => event,
            StoredRow::Unreadable { seq, column } => {
                self.heads.remove(&seq);
                self.note(TrailFault::Unreadable { row: seq, column });
                self.note_gap(seq, older);
                return;
            }
        };
        let as_kept = self.heads.remove(&seq).map(|hash| hash == event.hash);
        match as_kept {
            Some(true) => self.covered = true,
            Some(false) => self.note(TrailFault::NotAsKept { row: seq }),
            None => {}
        }
        let place = self.keyring.keys().position(|key| *key.name() == event.key);
        let Some((place, key)) = place.zip(self.keyring.get(&event.key)) else {
            self.note_unproven(TrailFault::UnknownKey {
                row: seq,
                key: event.key.clone(),
            });
            self.note_gap(seq, older);
            return;
        };
        if let Some((row, key, later)) = self.later_key.take()
            && later > place
        {
            self.note(TrailFault::OlderKey { row, key });
        }
        self.later_key = Some((seq, event.key.clone(), place));
        if event.format != FORMAT {
            self.note_unproven(TrailFault::UnknownFormat {
                row: seq,
                format: event.format,
            });
            self.note_gap(seq, older);
            return;
        }
        if self.note_gap(seq, older) {
            return;
        }
        let before = match older.map(StoredRow::hash) {
            None => None,
            Some(Some(hash)) => Some(hash),
            // That row is the broken one, and hides whether this one follows.
            Some(None) => return,
        };
        if key.audit_mac(&event.framed(before)) != event.hash {
            self.note(TrailFault::Altered { row: seq });
        } else if key.role() == KeyRole::Full {
            self.covered = true;
        } else if !self.covered {
            self.note_unproven(TrailFault::LeakedKey {
                row: seq,
                key: event.key,
            });
        }
    }

    /// Notes what should be between two rows and is not there, or should not be there at all.
    fn note_gap(&mut self, seq: u64, older: Option<&StoredRow>) -> bool {
        let expected = older.map_or(1, |older| older.seq().saturating_add(1));
        match seq.cmp(&expected) {
            std::cmp::Ordering::Equal => return false,
            std::cmp::Ordering::Less => self.note(TrailFault::Altered { row: seq }),
            std::cmp::Ordering::Greater => self.note(TrailFault::Missing { row: expected }),
        }
        true
    }

    fn note(&mut self, fault: TrailFault) {
        earlier(&mut self.report.broken, fault);
    }

    fn note_unproven(&mut self, fault: TrailFault) {
        earlier(&mut self.report.unproven, fault);
    }
}

/// Keeps the fault of the earlier row; of two of one row, the one that was found first.
fn earlier(noted: &mut Option<TrailFault>, fault: TrailFault) {
    if noted.as_ref().is_none_or(|noted| fault.row() < noted.row()) {
        *noted = Some(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_whose_id_looks_like_a_comment_has_heads_too() {
        let hash = "ab".repeat(32);
        let text = format!("# kept on Monday\n#\n\n#7 5 {hash}\nx7 6 {hash}\n");
        let heads: Heads = text.parse().expect("every line is a head or a comment");
        assert_eq!(heads.of("#7").keys().copied().collect::<Vec<_>>(), [5]);
        assert_eq!(heads.of("x7").keys().copied().collect::<Vec<_>>(), [6]);
        assert!(matches!(
            "#no head".parse::<Heads>(),
            Err(HeadsError::Form { line: 1 })
        ));
    }
}
