//! What each option accepts, and the message for any other value.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use credential_axum::{ForwardAuthHeaders, OAuthConfig};
use credential_core::{
    ScopeCatalog, credential::Networks, issuer::Issuer, secret::keyring::Keyring,
};
use credential_store_postgres::Pooler;
use zeroize::Zeroizing;

use super::ConfigError;

pub(super) fn pooler(text: &str) -> Result<Option<Pooler>, ConfigError> {
    match text {
        "auto" => Ok(None),
        "none" => Ok(Some(Pooler::None)),
        "transaction" => Ok(Some(Pooler::Transaction)),
        other => Err(unknown(
            "--database-pooler",
            other,
            "`auto`, `none` or `transaction`",
        )),
    }
}

pub(super) fn unknown(option: &'static str, value: &str, accepted: &'static str) -> ConfigError {
    let shown: String = value.chars().take(40).collect();
    ConfigError::new(
        option,
        format_args!("`{}` is not valid", shown.escape_debug()),
        accepted,
    )
}

pub(super) fn listen(text: &str) -> Result<SocketAddr, ConfigError> {
    const ACCEPTED: &str = "a loopback ADDR:PORT such as 127.0.0.1:8080 or [::1]:0";
    let address: SocketAddr = text
        .replace("localhost:", "127.0.0.1:")
        .parse()
        .map_err(|_| unknown("--listen", text, ACCEPTED))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(ConfigError::new(
            "--listen",
            format_args!("the demo sign-in lets anyone in, so it does not run on {address}"),
            ACCEPTED,
        ))
    }
}

pub(super) fn on_or_off(option: &'static str, text: &str) -> Result<bool, ConfigError> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(unknown(option, other, "`on` or `off`")),
    }
}

pub(super) fn keyring(text: Zeroizing<String>) -> Result<Keyring, ConfigError> {
    const ACCEPTED: &str = "`name:base64[:tag],…` with 32-byte keys, or `@path` of a file with \
                            that; `reference-server keygen` prints an entry";
    let text = in_file("--keyring", text, ACCEPTED)?;
    Keyring::parse(&text).map_err(|error| ConfigError::new("--keyring", error, ACCEPTED))
}

/// The secret itself, or the content of the file that `@path` names: everyone on the machine can read a
/// command line.
fn in_file(
    option: &'static str,
    text: Zeroizing<String>,
    accepted: &'static str,
) -> Result<Zeroizing<String>, ConfigError> {
    let Some(path) = text.strip_prefix('@') else {
        return Ok(text);
    };
    let read = std::fs::read_to_string(path).map_err(|error| {
        let fault = format_args!("the file could not be read ({})", error.kind()).to_string();
        ConfigError::new(option, fault, accepted)
    })?;
    Ok(Zeroizing::new(read))
}

pub(super) fn catalog(path: Option<PathBuf>) -> Result<ScopeCatalog, ConfigError> {
    const ACCEPTED: &str = "the path of a catalogue file (TOML), as docs/embedding.md describes";
    let Some(path) = path else {
        return Ok(ScopeCatalog::elation());
    };
    let shown = path.display();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let fault = format_args!("`{shown}` could not be read ({})", error.kind()).to_string();
        ConfigError::new("--catalog", fault, ACCEPTED)
    })?;
    ScopeCatalog::from_toml(&text).map_err(|error| {
        ConfigError::new("--catalog", format_args!("`{shown}`: {error}"), ACCEPTED)
    })
}

pub(super) fn max_staleness(text: &str) -> Result<Duration, ConfigError> {
    const ACCEPTED: &str = "`0`, or a duration from `500ms` to `60s`";
    let bounds = |millis| millis == 0 || (500..=60_000).contains(&millis);
    duration("--max-staleness", text, bounds, ACCEPTED)
}

pub(super) fn drain(text: &str) -> Result<Duration, ConfigError> {
    const ACCEPTED: &str = "`0`, or a duration up to `300s`";
    duration("--drain", text, |millis| millis <= 300_000, ACCEPTED)
}

/// Whole days, because that is how admins are told.
pub(super) fn max_lifetime(text: &str) -> Result<Duration, ConfigError> {
    const OPTION: &str = "--max-lifetime";
    const ACCEPTED: &str = "a number of days from `1d` to `36500d`";
    let days: u64 = text
        .trim()
        .strip_suffix('d')
        .and_then(|days| days.parse().ok())
        .ok_or_else(|| unknown(OPTION, text, ACCEPTED))?;
    if !(1..=36_500).contains(&days) {
        let fault = format_args!("`{}` is out of bounds", text.escape_debug()).to_string();
        return Err(ConfigError::new(OPTION, fault, ACCEPTED));
    }
    Ok(Duration::from_secs(days * 24 * 3_600))
}

/// `0`, or a number of `ms` or `s`.
fn duration(
    option: &'static str,
    text: &str,
    within_bounds: impl FnOnce(u64) -> bool,
    accepted: &'static str,
) -> Result<Duration, ConfigError> {
    let millis = match text.trim() {
        "0" | "0s" | "0ms" => Some(0),
        text => match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(number), _) => number.parse().ok(),
            (None, Some(number)) => number
                .parse::<u64>()
                .ok()
                .and_then(|it| it.checked_mul(1000)),
            (None, None) => None,
        },
    };
    match millis {
        Some(millis) if within_bounds(millis) => Ok(Duration::from_millis(millis)),
        Some(_) => Err(ConfigError::new(
            option,
            format_args!("`{}` is out of bounds", text.escape_debug()),
            accepted,
        )),
        None => Err(unknown(option, text, accepted)),
    }
}

pub(super) fn issuer(text: &str) -> Result<Issuer, ConfigError> {
    text.parse().map_err(|error| {
        let accepted = "an http or https URL without query, fragment and user name";
        ConfigError::new("--issuer", error, accepted)
    })
}

pub(super) fn forward_auth_headers(text: &str) -> Result<ForwardAuthHeaders, ConfigError> {
    match text {
        "x-forwarded" => Ok(ForwardAuthHeaders::XForwarded),
        "x-original" => Ok(ForwardAuthHeaders::XOriginal),
        "x-original-url" => Ok(ForwardAuthHeaders::XOriginalUrl),
        "path" => Ok(ForwardAuthHeaders::Path),
        other => Err(unknown(
            "--forward-auth-headers",
            other,
            "`x-forwarded` (Traefik, Caddy, HAProxy), `x-original` (nginx), `x-original-url` \
             (ingress-nginx) or `path` (Envoy)",
        )),
    }
}

pub(super) fn introspection_secret(
    text: Zeroizing<String>,
) -> Result<Zeroizing<String>, ConfigError> {
    const OPTION: &str = "--introspection-secret";
    const ACCEPTED: &str = "at least 16 visible ASCII characters, not beginning with `@`, or \
                            `@path` of a file with them";
    let text = in_file(OPTION, text, ACCEPTED)?;
    let secret = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    if secret.len() >= 16 && secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(secret)
    } else {
        Err(ConfigError::new(
            OPTION,
            "the secret is too short or has spaces or non-ASCII characters",
            ACCEPTED,
        ))
    }
}

/// The OAuth endpoints with this authorization endpoint.
pub(super) fn authorization_endpoint(text: Option<&str>) -> Result<OAuthConfig, ConfigError> {
    let config = OAuthConfig::default();
    match text {
        Some("none") => Ok(config),
        None | Some("stub") => Ok(config.refusing_authorization_endpoint()),
        Some(url) => config.authorization_endpoint(url).map_err(|error| {
            let accepted = "an absolute http or https URL without fragment, `stub` or `none`";
            ConfigError::new("--authorization-endpoint", error, accepted)
        }),
    }
}

pub(super) fn trusted_proxies(text: &str) -> Result<Networks, ConfigError> {
    const OPTION: &str = "--trusted-proxies";
    const ACCEPTED: &str = "up to 50 addresses and networks separated by commas, such as \
                            `192.0.2.7,10.0.0.0/8,2001:db8::/32`";
    let entries: Vec<&str> = text.split(',').map(str::trim).collect();
    Networks::parse(&entries).map_err(|faults| match faults.first() {
        Some(fault) => ConfigError::new(OPTION, fault, ACCEPTED),
        None => unknown(OPTION, text, ACCEPTED),
    })
}

pub(super) fn verified_cache(text: &str) -> Result<usize, ConfigError> {
    text.parse()
        .ok()
        .filter(|entries| (1..=100_000_000).contains(entries))
        .ok_or_else(|| unknown("--verified-cache", text, "a number from 1 to 100000000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_staleness_is_zero_or_half_a_second_and_up() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("1s", 1_000),
            ("60s", 60_000),
        ] {
            assert_eq!(max_staleness(text).unwrap().as_millis(), millis, "{text}");
        }
        for text in [
            "499ms",
            "61s",
            "1",
            "-1s",
            "s",
            "ms",
            "",
            "1 s",
            "99999999999999999999s",
        ] {
            assert!(max_staleness(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_drain_may_last_up_to_five_minutes() {
        for (text, millis) in [("0", 0), ("250ms", 250), ("5s", 5_000), ("300s", 300_000)] {
            assert_eq!(drain(text).unwrap().as_millis(), millis, "{text}");
        }
        for text in ["301s", "5", "-1s", "5m", ""] {
            assert!(drain(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_longest_life_is_of_whole_days() {
        for (text, days) in [("1d", 1), ("365d", 365), (" 2d ", 2), ("36500d", 36_500)] {
            let longest = max_lifetime(text).unwrap();
            assert_eq!(longest.as_secs(), days * 24 * 3_600, "{text}");
        }
        for text in [
            "0d",
            "36501d",
            "365",
            "12h",
            "1y",
            "-1d",
            "1.5d",
            "d",
            "",
            "99999999999999999999d",
        ] {
            assert!(max_lifetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_loopback_addresses_are_served() {
        for text in ["127.0.0.1:8080", "[::1]:0", "localhost:1"] {
            assert!(listen(text).is_ok(), "{text}");
        }
        for text in [
            "0.0.0.0:8080",
            "192.0.2.1:80",
            "[::]:80",
            "8080",
            "example.com:80",
        ] {
            assert!(listen(text).is_err(), "{text}");
        }
    }
}
