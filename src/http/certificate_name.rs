//! The names that `mtls.names` lists, and those that a client's certificate presents.
//!
//! Guarantees: names are compared by type, so that an entry matches only an alternative name of its own type (RFC
//! 9525). The subject's common name counts only in a certificate that has no alternative names at all, and only as a
//! DNS name. A name that is not valid for its type matches nothing, for example one with a wildcard or a NUL. Neither
//! does an extension that cannot be parsed.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A name of a client, as the configuration lists it and as a certificate presents it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CertificateName {
    /// A host, in lower case and without the full stop at its end.
    Dns(String),
    /// A URI, compared byte for byte.
    Uri(String),
    /// A mailbox.
    Email {
        /// What stands before the `@`, compared byte for byte.
        local: String,
        /// What stands after the `@`: a DNS name.
        domain: String,
    },
    /// An address.
    Ip(IpAddr),
}

impl CertificateName {
    /// Reads an entry of the configuration, whose form tells its type: an IP address, a URI if it has a colon, an
    /// e-mail address if it has an `@`, else a DNS name. Returns `None` if it is not a valid name of that type.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            Some(Self::Ip(address))
        } else if text.contains(':') {
            is_uri(text).then(|| Self::Uri(text.to_owned()))
        } else if text.contains('@') {
            email(text)
        } else {
            dns(text).map(Self::Dns)
        }
    }

    fn alternative(name: &GeneralName<'_>) -> Option<Self> {
        match name {
            GeneralName::DNSName(name) => dns(name).map(Self::Dns),
            GeneralName::URI(name) => is_uri(name).then(|| Self::Uri((*name).to_owned())),
            GeneralName::RFC822Name(name) => email(name),
            GeneralName::IPAddress(bytes) => ip(bytes).map(Self::Ip),
            _ => None,
        }
    }
}

impl TryFrom<String> for CertificateName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a name of a certificate")
    }
}

/// The names that a certificate presents.
pub(super) fn presented(certificate: &CertificateDer<'_>) -> Vec<CertificateName> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    match parsed.subject_alternative_name() {
        Ok(Some(alternatives)) => {
            let names = alternatives.value.general_names.iter();
            names.filter_map(CertificateName::alternative).collect()
        }
        Ok(None) => Vec::from_iter(common_name(&parsed).map(CertificateName::Dns)),
        // There are alternative names, but they cannot be parsed. The common name does not count then.
        Err(_) => Vec::new(),
    }
}

/// The common name, if there is exactly one and it is a DNS name.
fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut all = certificate.subject().iter_common_name();
    let name = all.next()?.as_str().ok()?;
    all.next().is_none().then(|| dns(name))?
}

/// Normalizes a DNS name for comparison. Returns `None` if it is not valid. An internationalized one has to be in its
/// ASCII form (`xn--`).
fn dns(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // Without this check, a mistyped IPv4 address would be accepted as a name that never matches.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let holds = name.len() <= 253
        && name.split('.').all(is_label)
        && !name.rsplit('.').next().is_some_and(is_number);
    holds.then(|| name.to_ascii_lowercase())
}

/// Whether a text is an absolute URI (RFC 3986), and not an IP address or a host with a port.
fn is_uri(text: &str) -> bool {
    const MAX: usize = 2048;
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let authority = rest.strip_prefix("//");
    // Without this check, a mistyped IPv6 address would be accepted as a name that never matches.
    let is_address_byte = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    text.len() <= MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.bytes().all(|byte| byte.is_ascii_digit())
        && !text.bytes().all(is_address_byte)
        && authority.is_none_or(|authority| !authority.is_empty() && !authority.starts_with('/'))
}

/// An e-mail address, whose local part is not quoted.
fn email(text: &str) -> Option<CertificateName> {
    let (local, domain) = text.split_once('@')?;
    let is_local_byte = |byte: u8| byte.is_ascii_graphic() && !b"\"(),:;<>@[\\]".contains(&byte);
    let domain = dns(domain)?;
    ((1..=64).contains(&local.len()) && local.bytes().all(is_local_byte)).then(|| {
        CertificateName::Email {
            local: local.to_owned(),
            domain,
        }
    })
}

/// Decodes an address in a certificate, which is 4 or 16 bytes.
fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair};
    use rcgen::{SanType, string::Ia5String};

    use super::*;

    fn named(change: impl FnOnce(&mut CertificateParams)) -> Vec<CertificateName> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().expect("it takes nothing");
        let certificate = params.self_signed(&key).expect("the parameters hold");
        presented(certificate.der())
    }

    fn ia5(text: &str) -> Ia5String {
        text.try_into().expect("it is ASCII")
    }

    fn of_alternatives(alternatives: &[SanType], common: &str) -> Vec<CertificateName> {
        named(|params| {
            params.subject_alt_names = alternatives.to_vec();
            params.distinguished_name.push(DnType::CommonName, common);
        })
    }

    fn listed(text: &str) -> CertificateName {
        CertificateName::parse(text).unwrap_or_else(|| panic!("{text} is a name"))
    }

    #[test]
    fn the_form_of_an_entry_tells_its_type() {
        use CertificateName::{Dns, Ip, Uri};
        let email = |local: &str, domain: &str| CertificateName::Email {
            local: local.to_owned(),
            domain: domain.to_owned(),
        };
        for (text, name) in [
            ("relay", Dns("relay".to_owned())),
            ("Relay.Example.COM.", Dns("relay.example.com".to_owned())),
            ("_relay.x-1.example", Dns("_relay.x-1.example".to_owned())),
            ("xn--kse-qla.example", Dns("xn--kse-qla.example".to_owned())),
            (
                "spiffe://Cluster/ns/a",
                Uri("spiffe://Cluster/ns/a".to_owned()),
            ),
            ("urn:example:relay", Uri("urn:example:relay".to_owned())),
            (
                "https://user@relay.example",
                Uri("https://user@relay.example".to_owned()),
            ),
            ("Relay@Example.com", email("Relay", "example.com")),
            ("192.0.2.1", Ip([192, 0, 2, 1].into())),
            (
                "2001:DB8::1",
                Ip([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1u16].into()),
            ),
        ] {
            assert_eq!(CertificateName::parse(text), Some(name), "{text}");
        }
    }

    #[test]
    fn what_is_no_legal_name_of_its_type_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(128);
        for text in [
            "",
            ".",
            "..",
            " relay",
            "Relay One",
            "*.example.com",
            "relay.*",
            "a..b",
            ".a",
            "-a",
            "a-",
            "a/b",
            "a\0",
            "käse.example",
            "192.0.2.256",
            "192.0.2.1.",
            "10",
            &long_label,
            &long_name,
            "relay.example:443",
            "localhost:",
            ":",
            "://relay",
            "spiffe://",
            "spiffe:///relay",
            "spiffe://cluster/a b",
            "1x:y",
            "a@",
            "@a",
            "a@b@c",
            "a b@c",
            "a@*.example",
            "\"a\"@b",
            "[::1]",
            "10.0.0.0/8",
            "fd00:1:2:3",
            "fe80::1::2",
        ] {
            assert_eq!(CertificateName::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_entry_matches_only_an_alternative_name_of_its_type() {
        let relay = "relay.example.com";
        let dns = |text: &str| SanType::DnsName(ia5(text));
        let uri = |text: &str| SanType::URI(ia5(text));
        let mail = |text: &str| SanType::Rfc822Name(ia5(text));
        let ip = |address: [u8; 4]| SanType::IpAddress(address.into());
        let spiffe = "spiffe://cluster/relay";
        for (alternative, entry, matches) in [
            (dns(relay), relay, true),
            (dns("RELAY.Example.com"), relay, true),
            (dns(relay), "Relay.EXAMPLE.com.", true),
            (dns("relay.example.com."), relay, true),
            (dns("a.relay.example.com"), relay, false),
            (dns("example.com"), relay, false),
            (dns("*.example.com"), relay, false),
            (dns("relay.example.com\0.evil.example"), relay, false),
            (dns("relay.example.com\0"), relay, false),
            (dns("relay.example.com.."), relay, false),
            (dns(" relay.example.com"), relay, false),
            (dns(spiffe), spiffe, false),
            (dns("ops@example.com"), "ops@example.com", false),
            (dns("192.0.2.1"), "192.0.2.1", false),
            (uri(spiffe), spiffe, true),
            (uri("spiffe://Cluster/relay"), spiffe, false),
            (uri("SPIFFE://cluster/relay"), spiffe, false),
            (uri("spiffe://cluster/relay/"), spiffe, false),
            (uri("spiffe://cluster/Relay"), spiffe, false),
            (uri(relay), relay, false),
            (uri("https://relay.example.com"), relay, false),
            (uri("ops@example.com"), "ops@example.com", false),
            (mail("ops@example.com"), "ops@example.com", true),
            (mail("ops@EXAMPLE.com"), "ops@example.com", true),
            (mail("OPS@example.com"), "ops@example.com", false),
            (mail("ops@a.example.com"), "ops@example.com", false),
            (mail("example.com"), "ops@example.com", false),
            (mail(relay), relay, false),
            (ip([192, 0, 2, 1]), "192.0.2.1", true),
            (ip([192, 0, 2, 1]), "192.0.2.2", false),
            (
                SanType::OtherName((vec![1, 3, 6, 1], relay.into())),
                relay,
                false,
            ),
        ] {
            // The common name says the same, and never counts beside an alternative name.
            let names = of_alternatives(std::slice::from_ref(&alternative), entry);
            assert_eq!(
                names.contains(&listed(entry)),
                matches,
                "{entry} for {alternative:?}: {names:?}"
            );
        }
    }

    #[test]
    fn a_common_name_is_a_dns_name_and_counts_without_alternative_names_alone() {
        for (common, entry, matches) in [
            ("relay.example.com", "relay.example.com", true),
            ("Relay.Example.Com", "relay.example.com", true),
            ("relay.example.com.", "relay.example.com", true),
            ("*.example.com", "relay.example.com", false),
            (
                "relay.example.com\0.evil.example",
                "relay.example.com",
                false,
            ),
            ("spiffe://cluster/relay", "spiffe://cluster/relay", false),
            ("ops@example.com", "ops@example.com", false),
            ("192.0.2.1", "192.0.2.1", false),
        ] {
            let names = of_alternatives(&[], common);
            assert_eq!(names.contains(&listed(entry)), matches, "{common}");
        }
        let extension =
            |content: &[u8]| CustomExtension::from_oid_content(&[2, 5, 29, 17], content.to_vec());
        for content in [&b"\x30\x00"[..], b"", b"nonsense", b"\x30\x03\x82\x10a"] {
            let names = named(|params| {
                params
                    .distinguished_name
                    .push(DnType::CommonName, "relay.example.com");
                params.custom_extensions = vec![extension(content)];
            });
            assert_eq!(names, [], "{content:?}");
        }
    }

    #[test]
    fn of_several_common_names_none_counts() {
        let common_name = || DnType::CustomDnType(vec![2, 5, 4, 3]);
        let relay = || DnValue::Utf8String("relay.example.com".to_owned());
        let one = named(|params| params.distinguished_name.push(common_name(), relay()));
        assert_eq!(one, [listed("relay.example.com")]);
        let two = named(|params| {
            params
                .distinguished_name
                .push(DnType::CommonName, "other.example");
            params.distinguished_name.push(common_name(), relay());
        });
        assert_eq!(two, []);
    }
}
