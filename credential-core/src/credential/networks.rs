//! From where a credential may be used.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

/// The length of the prefix that IPv4-mapped IPv6 addresses share (RFC 4291 §2.5.5.2).
const MAPPED: u8 = 96;

/// The networks from which a credential may be used, at most [`Networks::MAX`]. Empty: everywhere.
///
/// IPv4-mapped IPv6 addresses and networks count as the IPv4 that they stand for. So `::/0` covers no
/// IPv4 address, and `0.0.0.0/0` no IPv6 address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Box<[IpNet]>);

impl Networks {
    /// The most networks of one credential.
    pub const MAX: usize = 50;

    /// Reads networks in CIDR notation. An address alone is the network of that address only. Repeats
    /// count once.
    ///
    /// # Errors
    /// [`NetworkError`] for each entry that is wrong, with its place; one for too many entries. Of more than
    /// four times as many as may be, none is looked at.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, Vec<NetworkError>> {
        // Repeats count once, so a few more may be right. How long a list takes must have a bound.
        if texts.len() > 4 * Self::MAX {
            return Err(vec![NetworkError::TooMany]);
        }
        let mut networks = Vec::with_capacity(texts.len());
        let mut wrong = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            match parse(text.as_ref()) {
                Ok(network) if networks.contains(&network) => {}
                Ok(network) => networks.push(network),
                Err(fault) => wrong.push(fault(at)),
            }
        }
        if networks.len() > Self::MAX {
            wrong.push(NetworkError::TooMany);
        }
        if wrong.is_empty() {
            Ok(Self(networks.into()))
        } else {
            Err(wrong)
        }
    }

    /// Whether there is no restriction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a caller at that address may use the credential. An unknown address is outside of every
    /// network, also of `0.0.0.0/0`.
    #[must_use]
    pub fn allow(&self, address: Option<IpAddr>) -> bool {
        self.is_empty()
            || address.is_some_and(|address| {
                let address = address.to_canonical();
                self.0.iter().any(|network| network.contains(&address))
            })
    }

    /// Each network in canonical CIDR notation (RFC 5952 for IPv6), in the order in which they were given.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }
}

fn parse(text: &str) -> Result<IpNet, fn(usize) -> NetworkError> {
    let not_a_network = |at| NetworkError::NotANetwork { at };
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text
            .parse::<IpNet>()
            .map_err(|_| not_a_network as fn(_) -> _)?,
    };
    if network.addr() != network.network() {
        return Err(|at| NetworkError::HostBits { at });
    }
    Ok(unfolded(network))
}

/// The IPv4 network that an IPv4-mapped one stands for.
fn unfolded(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let (Some(address), Some(length)) = (
        v6.addr().to_ipv4_mapped(),
        v6.prefix_len().checked_sub(MAPPED),
    ) else {
        return network;
    };
    mapped(address, length).unwrap_or(network)
}

fn mapped(address: Ipv4Addr, length: u8) -> Option<IpNet> {
    Ipv4Net::new(address, length).ok().map(IpNet::V4)
}

/// Why a list of texts is no [`Networks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Neither an address nor a network. Zones (`%eth0`) are not accepted: they mean something on one machine only.
    #[error("entry {}: not an IP address or a network such as 192.0.2.0/24 or 2001:db8::/32", .at + 1)]
    NotANetwork {
        /// Its place in the list, from 0.
        at: usize,
    },
    /// An address inside of a network, with the length of its prefix: which one is meant?
    #[error("entry {}: the address has bits beyond the prefix; write the network's first address", .at + 1)]
    HostBits {
        /// Its place in the list, from 0.
        at: usize,
    },
    /// More than [`Networks::MAX`].
    #[error("at most {} networks", Networks::MAX)]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks::parse(texts).unwrap()
    }

    #[test]
    fn texts_are_canonical() {
        let read = networks(&[
            "192.0.2.7",
            "2001:DB8:0::/32",
            "::1",
            "::ffff:10.0.0.0/104",
            "::ffff:192.0.2.7",
            "::ffff:0:0/96",
            "::fffe:0:0/95",
            "10.0.0.0/8",
        ]);
        let texts: Vec<String> = read.texts().collect();
        let expected = [
            "192.0.2.7/32",
            "2001:db8::/32",
            "::1/128",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "::fffe:0:0/95",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn every_wrong_entry_is_named() {
        let texts = [
            "10.0.0.0/8",
            "10.0.0.1/8",
            "fe80::1%eth0",
            "",
            " 10.0.0.1",
            "10.0.0.0/33",
            "10.1/16",
            "010.0.0.1",
            "2001:db8::1/64",
            "example.org",
            "10.0.0.0/-1",
        ];
        let wrong = Networks::parse(&texts).unwrap_err();
        let not_a_network = |at| NetworkError::NotANetwork { at };
        let expected = [
            NetworkError::HostBits { at: 1 },
            not_a_network(2),
            not_a_network(3),
            not_a_network(4),
            not_a_network(5),
            not_a_network(6),
            not_a_network(7),
            NetworkError::HostBits { at: 8 },
            not_a_network(9),
            not_a_network(10),
        ];
        assert_eq!(wrong, expected);
    }

    #[test]
    fn fifty_are_enough() {
        let texts: Vec<String> = (0..51).map(|n| format!("10.0.{n}.0/24")).collect();
        assert!(Networks::parse(&texts[..50]).is_ok());
        assert_eq!(Networks::parse(&texts), Err(vec![NetworkError::TooMany]));
        let repeated = vec!["10.0.0.0/8"; 200];
        assert_eq!(Networks::parse(&repeated).unwrap().texts().count(), 1);
        let endless = vec![""; 201];
        assert_eq!(Networks::parse(&endless), Err(vec![NetworkError::TooMany]));
    }

    #[test]
    fn an_unknown_address_is_outside() {
        assert!(Networks::default().allow(None));
        let everything = networks(&["0.0.0.0/0", "::/0"]);
        assert!(!everything.allow(None));
        assert!(everything.allow(Some("::ffff:10.1.2.3".parse().unwrap())));
        let only_v6 = networks(&["::/0"]);
        assert!(!only_v6.allow(Some("::ffff:10.1.2.3".parse().unwrap())));
        let one = networks(&["10.1.2.0/24"]);
        assert!(one.allow(Some("::ffff:10.1.2.3".parse().unwrap())));
        assert!(!one.allow(Some("10.1.3.3".parse().unwrap())));
    }
}
