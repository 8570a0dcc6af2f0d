//! The address of a key set that somebody else publishes.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

/// The address of a JWK Set: https, at most [`KeySetUrl::MAX_LEN`] bytes, of no address that is known to be
/// private. What its host name resolves to is checked when it is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeySetUrl(Box<str>);

impl KeySetUrl {
    /// The longest URL, in bytes.
    pub const MAX_LEN: usize = 2_048;

    /// Reads the URL that an admin entered.
    ///
    /// # Errors
    /// [`UrlFault`].
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        check_https(text)?;
        Ok(Self(text.into()))
    }

    /// One that was checked when it was stored.
    pub(super) fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// As the admin entered it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a URL is not fetched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Not a URL of https, or with a user, a password or a fragment.
    #[error("it must be an https URL without a user name and a fragment")]
    NotHttps,
    /// Above [`KeySetUrl::MAX_LEN`].
    #[error("it may have {} bytes at most", KeySetUrl::MAX_LEN)]
    TooLong,
    /// Its host is an address or a name of a network that is not public.
    #[error("its host must be public")]
    NotPublic,
}

impl UrlFault {
    /// A word for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NotHttps => "invalid_url",
            Self::TooLong => "too_long",
            Self::NotPublic => "private_address",
        }
    }
}

/// Checks a URL that is to be fetched, as far as can be seen without looking its host up.
pub(super) fn check_https(text: &str) -> Result<Url, UrlFault> {
    if text.len() > KeySetUrl::MAX_LEN {
        return Err(UrlFault::TooLong);
    }
    // The parser drops spaces around a URL and line breaks within: not what was entered.
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    let url = Url::parse(text).map_err(|_| UrlFault::NotHttps)?;
    let user = !url.username().is_empty() || url.password().is_some();
    if !plain || url.scheme() != "https" || user || url.fragment().is_some() {
        return Err(UrlFault::NotHttps);
    }
    let public = match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(name)) => {
            // The parser has written it in lower case.
            let name = name.trim_end_matches('.');
            let last = name.rsplit_once('.').map(|(_, last)| last);
            !matches!(last, None | Some("localhost" | "local" | "internal"))
        }
        None => return Err(UrlFault::NotHttps),
    };
    if public {
        Ok(url)
    } else {
        Err(UrlFault::NotPublic)
    }
}

/// Networks that no request may go to (the IANA registries of special-purpose addresses), and those that lead
/// into the IPv4 of any of them.
const NOT_PUBLIC: [&str; 28] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
    "::/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/9",
];

/// Whether an address belongs to the public Internet. Everything that fetches by URL asks this of the address
/// that it is about to connect to.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    let address = address.to_canonical();
    // Of IPv6, what is in use is in 2000::/3, of which the list takes away.
    let unassigned = matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xe000 != 0x2000);
    if unassigned || address.is_multicast() {
        return false;
    }
    let networks = NOT_PUBLIC.iter().filter_map(|it| it.parse::<IpNet>().ok());
    !networks
        .into_iter()
        .any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_https() {
        for good in [
            "https://keys.example.com/jwks.json",
            "https://keys.example.com:8443/a?b=c",
            "https://203.0.114.7/jwks",
            "https://[2600:1901::1]/jwks",
        ] {
            assert_eq!(
                KeySetUrl::parse(good).map(|it| it.as_str().to_owned()),
                Ok(good.to_owned())
            );
        }
        for (url, fault) in [
            ("http://keys.example.com/", UrlFault::NotHttps),
            ("https://u@keys.example.com/", UrlFault::NotHttps),
            ("https://u:p@keys.example.com/", UrlFault::NotHttps),
            ("https://keys.example.com/#k", UrlFault::NotHttps),
            (" https://keys.example.com/", UrlFault::NotHttps),
            ("https://keys.exa\nmple.com/", UrlFault::NotHttps),
            ("file:///etc/passwd", UrlFault::NotHttps),
            ("", UrlFault::NotHttps),
            ("https://localhost/", UrlFault::NotPublic),
            ("https://a.localhost./", UrlFault::NotPublic),
            ("https://printer.local/", UrlFault::NotPublic),
            ("https://metadata/", UrlFault::NotPublic),
            ("https://127.0.0.1/", UrlFault::NotPublic),
            ("https://0x7f.1/", UrlFault::NotPublic),
            ("https://2130706433/", UrlFault::NotPublic),
            ("https://169.254.169.254/latest", UrlFault::NotPublic),
            ("https://[::1]/", UrlFault::NotPublic),
            ("https://[::ffff:10.0.0.1]/", UrlFault::NotPublic),
            ("https://[64:ff9b::a00:1]/", UrlFault::NotPublic),
            ("https://[fd00::1]/", UrlFault::NotPublic),
            ("https://[fe80::1]/", UrlFault::NotPublic),
        ] {
            assert_eq!(KeySetUrl::parse(url), Err(fault), "{url}");
        }
        let long = format!(
            "https://keys.example.com/{}",
            "a".repeat(KeySetUrl::MAX_LEN)
        );
        assert_eq!(KeySetUrl::parse(&long), Err(UrlFault::TooLong));
    }

    #[test]
    fn every_network_of_the_list_can_be_read() {
        for network in NOT_PUBLIC {
            assert!(network.parse::<IpNet>().is_ok(), "{network}");
        }
    }

    #[test]
    fn special_addresses_are_not_public() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2001::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::ffff:0:10.0.0.1",
            "4000::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.255.255",
            "172.32.0.1",
            "223.255.255.254",
            "2606:4700::1111",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
