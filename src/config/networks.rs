//! Networks that a request can come from.
//!
//! Guarantees: a network that is accepted means what an operator reads in it, and a sender's address can be in it.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::kinds::{Wrong, wrong};
use super::shown::quoted;
use crate::http::settings::network;

/// Checks a network, or one address as the network of itself.
pub(super) fn check(text: &str) -> Result<(), Wrong> {
    let refused = |why: &str, right: String| Err(wrong(format!("{} {why}", quoted(text)), right));
    let Some(network) = network(text) else {
        if let Some(decimal) = without_leading_zeros(text) {
            return refused(
                "has a number with a leading zero, which other programs read as octal",
                format!("give {decimal}, if that is meant"),
            );
        }
        return refused(
            "will not do",
            "give a network such as 10.0.0.0/8 or 2001:db8::/32, or one address".to_owned(),
        );
    };
    let (address, first) = (network.addr(), network.trunc());
    if address != first.addr() {
        return refused(
            "is an address with the length of a network that is larger",
            format!("give the network, {first}, or the address alone, {address}"),
        );
    }
    if let Some(meant) = as_ipv4(&network) {
        return refused(
            "never matches, as an IPv4 address is compared in its own form",
            format!("give {meant}"),
        );
    }
    if is_no_sender(&network) {
        return refused(
            "never matches, as no request comes from there",
            "give the network of the senders; every address is 0.0.0.0/0 and ::/0".to_owned(),
        );
    }
    Ok(())
}

/// The same network with its numbers in decimal, if leading zeros are all that is wrong with it.
fn without_leading_zeros(text: &str) -> Option<String> {
    let numbers = text.split_inclusive(['.', '/', ':']);
    let decimal: String = numbers
        .map(|number| {
            let digits = number.trim_start_matches('0');
            match digits.starts_with(|first: char| first.is_ascii_hexdigit()) {
                true => digits.to_owned(),
                // It is zero, or nothing.
                false => number
                    [number.len() - digits.len() - usize::from(number.starts_with('0'))..]
                    .to_owned(),
            }
        })
        .collect();
    network(&decimal).map(|_| decimal)
}

/// The IPv4 network that an IPv6 network of mapped (`::ffff:0:0/96`) or compatible (`::/96`) addresses stands for.
fn as_ipv4(network: &IpNet) -> Option<IpNet> {
    let IpNet::V6(network) = network else {
        return None;
    };
    let length = network.prefix_len().checked_sub(96)?;
    let address = network.addr();
    if [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST].contains(&address) {
        return None;
    }
    IpNet::new(IpAddr::V4(address.to_ipv4()?), length).ok()
}

/// Whether it holds nothing but addresses that are never the source of a connection.
fn is_no_sender(network: &IpNet) -> bool {
    let (first, last) = (network.network(), network.broadcast());
    let is_one = first == last;
    let is_broadcast = first == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    is_one && (first.is_unspecified() || is_broadcast)
        || first.is_multicast() && last.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_if_senders_can_be_in_it() {
        for text in [
            "10.0.0.0/8",
            "192.0.2.1",
            "192.0.2.1/32",
            "0.0.0.0/0",
            "2001:db8::/32",
            "::/0",
            "::1",
            "::1/128",
            "fd00::/8",
            "64:ff9b::/96",
            "2002:c000:0204::/48",
            "2001:0db8::/32",
        ] {
            assert!(check(text).is_ok(), "{text}: {:?}", check(text));
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_network_that_never_matches_or_is_not_what_it_seems_is_refused_with_what_would_be_right() {
        for (text, wrong, right) in [
            ("", "\"\" will not do", "give a network such as"),
            ("10.0.0.0/33", "\"10.0.0.0/33\" will not do", "give a network such as"),
            ("10.0.0/8", "\"10.0.0/8\" will not do", "give a network such as"),
            ("fe80::1%eth0", "\"fe80::1%eth0\" will not do", "give a network such as"),
            ("010.0.0.0/8", "\"010.0.0.0/8\" has a number with a leading zero", "give 10.0.0.0/8"),
            ("10.0.0.00/8", "\"10.0.0.00/8\" has a number with a leading zero", "give 10.0.0.0/8"),
            ("10.0.0.0/08", "\"10.0.0.0/08\" has a number with a leading zero", "give 10.0.0.0/8"),
            ("192.0.2.001", "\"192.0.2.001\" has a number with a leading zero", "give 192.0.2.1"),
            ("::ffff:010.0.0.0/104", "\"::ffff:010.0.0.0/104\" has a number with a leading zero", "give ::ffff:10.0.0.0/104"),
            ("10.0.0.0/+8", "\"10.0.0.0/+8\" will not do", "give a network such as"),
            ("0xa.0.0.0/8", "\"0xa.0.0.0/8\" will not do", "give a network such as"),
            ("10.1.2.3/8", "\"10.1.2.3/8\" is an address with the length", "give the network, 10.0.0.0/8, or the address alone, 10.1.2.3"),
            ("2001:db8::1/32", "\"2001:db8::1/32\" is an address with the length", "give the network, 2001:db8::/32, or the address alone, 2001:db8::1"),
            ("::ffff:10.0.0.0/104", "\"::ffff:10.0.0.0/104\" never matches", "give 10.0.0.0/8"),
            ("::ffff:10.1.2.3", "\"::ffff:10.1.2.3\" never matches", "give 10.1.2.3/32"),
            ("::ffff:0:0/96", "\"::ffff:0:0/96\" never matches", "give 0.0.0.0/0"),
            ("::10.0.0.0/104", "\"::10.0.0.0/104\" never matches", "give 10.0.0.0/8"),
            ("0.0.0.0", "\"0.0.0.0\" never matches", "give the network of the senders"),
            ("::", "\"::\" never matches", "give the network of the senders"),
            ("255.255.255.255", "\"255.255.255.255\" never matches", "give the network of the senders"),
            ("224.0.0.0/4", "\"224.0.0.0/4\" never matches", "give the network of the senders"),
            ("ff00::/8", "\"ff00::/8\" never matches", "give the network of the senders"),
        ] {
            let told = check(text).expect_err(text);
            assert!(told.wrong.starts_with(wrong), "{text}: {}", told.wrong);
            assert!(told.right.starts_with(right), "{text}: {}", told.right);
        }
    }
}
