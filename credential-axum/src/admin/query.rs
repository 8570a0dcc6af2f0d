//! Query strings: decoded strictly, every fault kept.

use credential_core::manage::{Fault, MAX_PAGE};

use super::{cursor::Cursor, input::Input};

/// How many items a page has unless the client asks for another number.
const DEFAULT_PAGE: usize = 50;

/// The parameters of a query string.
pub(super) type Query = Input<String>;

impl Query {
    /// Splits and decodes a query string (`application/x-www-form-urlencoded`). A parameter whose
    /// percent-encoding is broken or no UTF-8 is a fault.
    pub(super) fn parse(query: Option<&str>) -> Self {
        let mut values = Vec::new();
        let mut faults = Vec::new();
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name), decode(value)) {
                (Some(name), Some(value)) => values.push((name, value)),
                (name, _) => faults.push(Fault::new(
                    super::input::shown(&name.unwrap_or_default()),
                    "invalid_encoding",
                    "the percent-encoding is broken or not UTF-8",
                )),
            }
        }
        Self::new(values, faults)
    }

    /// `limit`: how many items at most.
    pub(super) fn limit(&mut self) -> usize {
        let Some(text) = self.take("limit") else {
            return DEFAULT_PAGE;
        };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (code, limit) = match text.parse() {
            Ok(limit) if digits && (1..=MAX_PAGE).contains(&limit) => return limit,
            _ if digits => ("out_of_range", DEFAULT_PAGE),
            _ => ("wrong_type", DEFAULT_PAGE),
        };
        self.fault(
            "limit",
            code,
            format!("must be a whole number from 1 to {MAX_PAGE}"),
        );
        limit
    }

    /// `cursor`: where the page begins.
    pub(super) fn cursor<C: Cursor>(&mut self) -> Option<C> {
        let text = self.take("cursor")?;
        let cursor = C::from_text(&text);
        if cursor.is_none() {
            self.fault(
                "cursor",
                "invalid_cursor",
                "must be the `next_cursor` of the page before",
            );
        }
        cursor
    }

    /// `true` or `false`; not given is `false`.
    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        match self.take(name).as_deref() {
            Some("true") => true,
            Some("false") | None => false,
            Some(_) => {
                self.fault(name, "wrong_type", "must be `true` or `false`");
                false
            }
        }
    }
}

/// `None` if the percent-encoding is broken or no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_read_strictly() {
        assert_eq!(decode("a%20b+c%C3%A9").as_deref(), Some("a b cé"));
        for broken in ["%", "%4", "%zz", "%+1", "%ff", "%C3", "a%"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let mut query = Query::parse(Some(
            "limit=0&cursor=%21&flag=yes&limit=5&&x=1&y=%ff&%zz=1&%66lag=true",
        ));
        assert_eq!(query.limit(), DEFAULT_PAGE);
        assert_eq!(query.cursor::<u64>(), None);
        assert!(!query.flag("flag"));
        let faults = query.finish("unknown_parameter");
        let found: Vec<_> = faults.iter().map(|f| (f.field.as_str(), f.code)).collect();
        assert_eq!(
            found,
            [
                ("y", "invalid_encoding"),
                ("", "invalid_encoding"),
                ("limit", "duplicate"),
                ("limit", "out_of_range"),
                ("cursor", "invalid_cursor"),
                ("flag", "duplicate"),
                ("flag", "wrong_type"),
                ("x", "unknown_parameter"),
            ]
        );
    }

    #[test]
    fn limits_have_bounds() {
        let limit = |text: &str| {
            let mut query = Query::parse(Some(text));
            (query.limit(), query.finish("unknown_parameter").len())
        };
        assert_eq!(limit(""), (50, 0));
        assert_eq!(limit("limit=1"), (1, 0));
        assert_eq!(limit("limit=100"), (100, 0));
        let wrong = [
            "0",
            "101",
            "-1",
            "%2B5",
            "5.0",
            "",
            "x",
            "99999999999999999999999",
        ];
        for wrong in wrong {
            assert_eq!(limit(&format!("limit={wrong}")), (50, 1), "{wrong}");
        }
    }
}
