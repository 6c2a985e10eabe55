//! Finds the address of the client, and whether it is allowed.
//!
//! If the peer is a trusted proxy, the address that it appended to `X-Forwarded-For` is used. The list is read from
//! right to left, since each proxy appends at the right, up to the first address that is not a trusted proxy.
//! Everything to the left of that could be forged by the client.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of one source.
pub(super) struct Origin {
    allow_from: Vec<IpNet>,
    trusted_proxies: Vec<IpNet>,
}

impl Origin {
    pub(super) fn new(allow_from: &[IpNet], trusted_proxies: &[IpNet]) -> Self {
        Self {
            allow_from: allow_from.to_vec(),
            trusted_proxies: trusted_proxies.to_vec(),
        }
    }

    /// Whether this address is allowed. An unknown address (`None`) is allowed only if `allow_from` is empty.
    pub(super) fn allows(&self, address: Option<IpAddr>) -> bool {
        self.allow_from.is_empty()
            || address.is_some_and(|address| holds(&self.allow_from, address))
    }

    /// The address of the client. `None` if a trusted proxy has written something that is not an address.
    pub(super) fn of(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let mut address = peer?.to_canonical();
        let lists: Vec<_> = match holds(&self.trusted_proxies, address) {
            true => headers.get_all(&X_FORWARDED_FOR).collect(),
            false => Vec::new(),
        };
        let from_the_right = lists
            .iter()
            .rev()
            .flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
        for named in from_the_right {
            if !holds(&self.trusted_proxies, address) {
                break;
            }
            address = parse(named)?;
        }
        Some(address)
    }
}

fn holds(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// Parses an address as proxies write it: alone, with a port, or in brackets.
fn parse(named: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(named).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|with_port| with_port.ip()));
    Some(address.ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::auth::tests::headers;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts
            .iter()
            .map(|text| text.parse().expect("the tests use networks"))
            .collect()
    }

    fn from(peer: &str, forwarded: &[&str]) -> Option<String> {
        let origin = Origin::new(&[], &networks(&["10.0.0.0/8", "fd00::/8"]));
        let sent: Vec<_> = forwarded
            .iter()
            .map(|list| ("x-forwarded-for", *list))
            .collect();
        let peer = peer.parse().expect("the tests use addresses");
        origin
            .of(Some(peer), &headers(&sent))
            .map(|address| address.to_string())
    }

    #[test]
    fn the_list_of_a_trusted_proxy_is_walked_from_the_right() {
        for (peer, forwarded, found) in [
            ("192.0.2.1", &[][..], Some("192.0.2.1")),
            ("192.0.2.1", &["198.51.100.7"], Some("192.0.2.1")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &["198.51.100.7"], Some("198.51.100.7")),
            (
                "10.0.0.1",
                &["203.0.113.9, 198.51.100.7"],
                Some("198.51.100.7"),
            ),
            (
                "10.0.0.1",
                &["198.51.100.7, 10.9.9.9"],
                Some("198.51.100.7"),
            ),
            (
                "10.0.0.1",
                &["198.51.100.7,10.9.9.9 ,  10.8.8.8"],
                Some("198.51.100.7"),
            ),
            (
                "10.0.0.1",
                &["203.0.113.9", "198.51.100.7"],
                Some("198.51.100.7"),
            ),
            (
                "10.0.0.1",
                &["198.51.100.7", "10.9.9.9"],
                Some("198.51.100.7"),
            ),
            ("10.0.0.1", &["10.7.7.7, 10.9.9.9"], Some("10.7.7.7")),
            (
                "::ffff:10.0.0.1",
                &["::ffff:198.51.100.7"],
                Some("198.51.100.7"),
            ),
            ("10.0.0.1", &["198.51.100.7:4711"], Some("198.51.100.7")),
            ("10.0.0.1", &["[2001:db8::1]:4711"], Some("2001:db8::1")),
            ("10.0.0.1", &["[2001:db8::1], fd00::5"], Some("2001:db8::1")),
            ("10.0.0.1", &["unknown"], None),
            ("10.0.0.1", &[""], None),
            ("10.0.0.1", &["198.51.100.7,"], None),
            ("10.0.0.1", &["198.51.100.7, nonsense"], None),
            (
                "10.0.0.1",
                &["nonsense, 198.51.100.7"],
                Some("198.51.100.7"),
            ),
        ] {
            assert_eq!(
                from(peer, forwarded).as_deref(),
                found,
                "{peer} {forwarded:?}"
            );
        }
    }

    #[test]
    fn a_source_takes_webhooks_from_its_networks_alone() {
        let address = |text: &str| text.parse().ok();
        let anywhere = Origin::new(&[], &[]);
        assert!(anywhere.allows(address("192.0.2.1")) && anywhere.allows(None));
        let somewhere = Origin::new(&networks(&["192.0.2.0/25", "2001:db8::/32"]), &[]);
        for (text, allowed) in [
            ("192.0.2.1", true),
            ("192.0.2.128", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
            ("", false),
        ] {
            assert_eq!(somewhere.allows(address(text)), allowed, "{text}");
        }
    }
}
