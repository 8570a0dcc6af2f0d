//! What the claims of an assertion must be.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Fault;
use crate::{clock::Timestamp, store::ASSERTIONS_KEPT_FOR};

/// How far ahead of now `exp` may lie: SMART's five minutes, and a client whose clock is a minute ahead.
pub const ASSERTION_AHEAD: Duration = Duration::from_secs(360);
/// How long after `exp` an assertion still counts, for a client whose clock is behind.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);
// See `ASSERTIONS_KEPT_FOR`.
const _: () =
    assert!(ASSERTION_AHEAD.as_secs() + CLOCK_SKEW.as_secs() < ASSERTIONS_KEPT_FOR.as_secs());

/// How far in the future `iat` and `nbf` may lie.
const ISSUED_AHEAD: Duration = Duration::from_secs(60);
/// The longest `jti`, in characters.
const MAX_JTI: usize = 256;

/// The claims that are looked at (RFC 7523 §3).
#[derive(Debug)]
pub(super) struct Claims<'a> {
    pub(super) iss: &'a str,
    pub(super) sub: &'a str,
    pub(super) exp: Timestamp,
    pub(super) jti: Option<&'a str>,
    aud: Option<&'a str>,
    nbf: Option<Timestamp>,
    iat: Option<Timestamp>,
}

impl<'a> Claims<'a> {
    pub(super) fn of(claims: &'a Map<String, Value>) -> Result<Self, Fault> {
        let text = |name: &'static str| {
            let text = claims.get(name).and_then(Value::as_str);
            text.ok_or(Fault::Claim(name))
        };
        let time = |name: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(value) => numeric_date(value).map(Some).ok_or(Fault::Claim(name)),
        };
        let aud = match claims.get("aud") {
            Some(Value::String(one)) => Some(one.as_str()),
            Some(Value::Array(list)) => match list.as_slice() {
                [Value::String(only)] => Some(only.as_str()),
                _ => None,
            },
            _ => None,
        };
        Ok(Self {
            iss: text("iss")?,
            sub: text("sub")?,
            exp: time("exp")?.ok_or(Fault::Claim("exp"))?,
            jti: claims.get("jti").and_then(Value::as_str),
            aud,
            nbf: time("nbf")?,
            iat: time("iat")?,
        })
    }

    /// Of an assertion that the client itself signed.
    pub(super) fn check_own(
        &self,
        typ: Option<&str>,
        issuer: &str,
        endpoints: &[String],
        now: Timestamp,
    ) -> Result<(), Fault> {
        let bare = |url: &'_ str| url.strip_suffix('/').map_or(url.len(), str::len);
        let is_issuer = |aud: &str| aud.get(..bare(aud)) == issuer.get(..bare(issuer));
        let is_endpoint = |aud: &str| endpoints.iter().any(|it| it == aud);
        match typ {
            // The rule of draft-ietf-oauth-rfc7523bis, for those who follow it.
            Some("client-authentication+jwt") if !self.aud.is_some_and(is_issuer) => {
                return Err(Fault::AudienceIssuer);
            }
            Some("client-authentication+jwt") => {}
            None | Some("jwt") => {
                if !self
                    .aud
                    .is_some_and(|aud| is_issuer(aud) || is_endpoint(aud))
                {
                    return Err(Fault::Audience);
                }
            }
            Some(_) => return Err(Fault::Type),
        }
        self.check_times(now, CLOCK_SKEW)?;
        if self.exp > now.saturating_add(ASSERTION_AHEAD) {
            return Err(Fault::TooFar);
        }
        let fits = |jti: &str| (1..=MAX_JTI).contains(&jti.chars().count());
        if !self.jti.is_some_and(fits) {
            return Err(Fault::Jti);
        }
        Ok(())
    }

    /// Of a token that another platform issued: its audience is the rule's matter, its `jti` nobody's, since
    /// platforms hand one token out again and again.
    pub(super) fn check_workload(&self, typ: Option<&str>, now: Timestamp) -> Result<(), Fault> {
        if !matches!(typ, None | Some("jwt" | "jose" | "at+jwt")) {
            return Err(Fault::Type);
        }
        self.check_times(now, Duration::ZERO)
    }

    fn check_times(&self, now: Timestamp, skew: Duration) -> Result<(), Fault> {
        if self.exp <= now.saturating_sub(skew) {
            return Err(Fault::Expired);
        }
        let latest = now.saturating_add(ISSUED_AHEAD);
        if [self.nbf, self.iat]
            .into_iter()
            .flatten()
            .any(|at| at > latest)
        {
            return Err(Fault::Future);
        }
        Ok(())
    }
}

/// Seconds since 1970, with or without a fraction (RFC 7519 §2).
fn numeric_date(value: &Value) -> Option<Timestamp> {
    let seconds = value.as_f64()?;
    // The year 9999: beyond it there are no dates.
    if !(0.0..=253_402_300_799.0).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    Some(Timestamp::from_micros((seconds * 1e6) as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.example.com";
    const NOW: i64 = 1_800_000_000;

    fn checked(typ: Option<&str>, change: impl FnOnce(&mut Value)) -> Result<(), Fault> {
        let mut claims = json!({
            "iss": "c", "sub": "c", "aud": "https://id.example.com/oauth2/token", "exp": NOW + 300, "jti": "1",
        });
        change(&mut claims);
        let claims = claims.as_object().unwrap().clone();
        let endpoints = ["https://id.example.com/oauth2/token".to_owned()];
        let now = Timestamp::from_micros(NOW * 1_000_000);
        Claims::of(&claims)?.check_own(typ, ISSUER, &endpoints, now)
    }

    #[test]
    fn audiences() {
        let with = |typ, aud: Value| checked(typ, |it| it["aud"] = aud);
        for aud in [
            json!(ISSUER),
            json!("https://id.example.com/"),
            json!("https://id.example.com/oauth2/token"),
            json!([ISSUER]),
        ] {
            assert_eq!(with(None, aud.clone()), Ok(()), "{aud}");
            assert_eq!(with(Some("jwt"), aud), Ok(()));
        }
        for aud in [
            json!(null),
            json!(""),
            json!([]),
            json!([ISSUER, ISSUER]),
            json!("https://id.example.com//"),
            json!("https://id.example.com/oauth2/token/"),
            json!("https://ID.example.com"),
            json!(["x"]),
            json!({"a": 1}),
        ] {
            assert_eq!(with(None, aud.clone()), Err(Fault::Audience), "{aud}");
        }
        let strict = Some("client-authentication+jwt");
        assert_eq!(with(strict, json!(ISSUER)), Ok(()));
        assert_eq!(
            with(strict, json!("https://id.example.com/oauth2/token")),
            Err(Fault::AudienceIssuer)
        );
        for typ in ["at+jwt", "secevent+jwt", "jose"] {
            assert_eq!(with(Some(typ), json!(ISSUER)), Err(Fault::Type), "{typ}");
        }
    }

    #[test]
    fn times() {
        let with = |name: &'static str, value: Value| checked(None, |it| it[name] = value);
        for exp in [json!(NOW + 360), json!(NOW - 29), json!(1_800_000_000.5)] {
            assert_eq!(with("exp", exp.clone()), Ok(()), "{exp}");
        }
        assert_eq!(with("exp", json!(NOW - 30)), Err(Fault::Expired));
        assert_eq!(with("exp", json!(NOW + 361)), Err(Fault::TooFar));
        for exp in [json!("1"), json!(null), json!(-1), json!(1e300), json!([1])] {
            assert_eq!(with("exp", exp.clone()), Err(Fault::Claim("exp")), "{exp}");
        }
        for name in ["nbf", "iat"] {
            assert_eq!(with(name, json!(NOW + 60)), Ok(()));
            assert_eq!(with(name, json!(NOW + 61)), Err(Fault::Future));
            assert_eq!(with(name, json!("now")), Err(Fault::Claim(name)));
        }
    }

    #[test]
    fn names_of_the_assertion() {
        for jti in [json!(null), json!(""), json!(7), json!("x".repeat(257))] {
            assert_eq!(
                checked(None, |it| it["jti"] = jti.clone()),
                Err(Fault::Jti),
                "{jti}"
            );
        }
        assert_eq!(
            checked(None, |it| it["jti"] = json!("ü".repeat(256))),
            Ok(())
        );
    }
}
