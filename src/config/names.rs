//! What names have to look like, because of where they end up.

/// A rule for a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// What would be right, as the end of a sentence.
    pub right: &'static str,
    pub holds: fn(&str) -> bool,
}

/// Whatever there is.
pub(super) const ANY: Rule = Rule {
    right: "give a text",
    holds: |_| true,
};

/// Something.
pub(super) const NON_EMPTY: Rule = Rule {
    right: "give a text that is not empty",
    holds: |text| !text.is_empty(),
};

/// Kafka's own rule for topics.
pub(super) const TOPIC: Rule = Rule {
    right: "give 1 to 249 letters, digits, '.', '_' or '-', and not '.' or '..'",
    holds: |text| is_name(text) && text != "." && text != "..",
};

/// What stays a topic, whatever kind comes after it.
pub(super) const PREFIX: Rule = Rule {
    right: "give at most 200 letters, digits, '.', '_' or '-', the first of them no '.', such as minchat.",
    holds: |text| {
        text.is_empty()
            || (text.len() <= 200 && is_name(text) && !text.starts_with('.') && text != "amq.")
    },
};

/// AMQP 0-9-1: a short string; names that begin with `amq.` are the broker's.
pub(super) const EXCHANGE: Rule = Rule {
    right: "give 1 to 255 bytes that do not begin with 'amq.', without control characters",
    holds: |text| !text.is_empty() && is_short_string(text) && !text.starts_with("amq."),
};

/// AMQP 0-9-1: a short string.
pub(super) const ROUTING_KEY: Rule = Rule {
    right: "give at most 255 bytes without control characters",
    holds: is_short_string,
};

/// A name in a directory, with `.ndjson` behind it.
pub(super) const FILE: Rule = Rule {
    right: "give 1 to 200 letters, digits, '.', '_' or '-', the first of them no '.', without a directory",
    holds: |text| text.len() <= 200 && is_name(text) && !text.starts_with('.'),
};

/// A source: the last part of a URL's path, and a label of metrics.
pub(super) const SOURCE: Rule = Rule {
    right: "a source's name has 1 to 63 of a-z, 0-9 and '-'",
    holds: |text| {
        (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    },
};

/// RFC 3986, as far as it matters: a scheme, and nothing that would need an escape.
pub(super) const URI: Rule = Rule {
    right: "give a URI, such as tag:example.com,2026:schema: or https://example.com/schemas/",
    holds: |text| {
        is_uri_text(text)
            && text.split_once(':').is_some_and(|(scheme, rest)| {
                !rest.is_empty()
                    && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                    && scheme
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            })
    },
};

/// RFC 3986: a URI, or a part of one.
pub(super) const URI_REFERENCE: Rule = Rule {
    right: "give a URI or a path of one, such as /webhooks/minchat",
    holds: is_uri_text,
};

/// What librdkafka takes for a broker, without a protocol in front.
pub(super) const HOST_PORT: Rule = Rule {
    right: "give host:port, such as kafka-1:9092",
    holds: |text| {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            Some(_) => return text.starts_with('[') && text.ends_with(']'),
            None => (text, None),
        };
        is_host(host) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
    },
};

/// RFC 9110, section 5.1: a token. Lower case, as it is compared without regard to case.
pub(super) const HEADER: Rule = Rule {
    right: "give the name of a header in lower case, such as x-signature",
    holds: |text| {
        (1..=100).contains(&text.len())
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    },
};

/// What can stand in a header's value.
pub(super) const HEADER_TEXT: Rule = Rule {
    right: "give at most 100 visible characters of ASCII",
    holds: |text| text.len() <= 100 && text.bytes().all(|byte| byte.is_ascii_graphic()),
};

/// Where something is fetched.
pub(super) const HTTP_URL: Rule = Rule {
    right: "give a URL that begins with https://",
    holds: |text| {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        is_uri_text(text) && rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('@'))
    },
};

/// A network, or one address.
pub(super) const NETWORK: Rule = Rule {
    right: "give a network such as 10.0.0.0/8 or 2001:db8::/32, or one address",
    holds: |text| crate::http::settings::network(text).is_some(),
};

/// A name that a client's certificate presents. Its form tells its type.
pub(super) const CERTIFICATE_NAME: Rule = Rule {
    right: "give a DNS name such as relay.example.com (no wildcard, no port, xn-- for what is not ASCII), a URI such as spiffe://cluster/relay, an e-mail address, or an IP address",
    holds: crate::http::settings::is_certificate_name,
};

/// A host's name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_host(text: &str) -> bool {
    match text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=249).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_short_string(text: &str) -> bool {
    text.len() <= 255 && !text.chars().any(char::is_control)
}

fn is_uri_text(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_hold_and_names_that_do_not() {
        let long = "a".repeat(249);
        let longer = "a".repeat(250);
        let short_string = "é".repeat(127);
        let table: [(&str, Rule, &[&str], &[&str]); 8] = [
            (
                "topic",
                TOPIC,
                &["a", "chat.messages_v-1", "...", &long],
                &["", ".", "..", "a b", "é", "a/b", &longer],
            ),
            (
                "prefix",
                PREFIX,
                &["", "minchat.", "a-"],
                &[".a", "a/", &long, "amq."],
            ),
            (
                "exchange",
                EXCHANGE,
                &["chat", "chat messages", &short_string],
                &["", "amq.topic", &longer[..250].repeat(2)],
            ),
            ("routing key", ROUTING_KEY, &["", "a.b.c"], &["a\nb"]),
            (
                "file",
                FILE,
                &["chat", "chat.v1"],
                &["", "..", ".chat", "a/b", "a\\b"],
            ),
            (
                "source",
                SOURCE,
                &["minchat", "a", "0-9", &long[..63]],
                &["", "A", "a.b", "a_b", &long[..64]],
            ),
            (
                "uri",
                URI,
                &["urn:x:", "https://e.com/a"],
                &["urn", "urn:", "/a", "1x:y", "urn:a b", "urn:\"", "é:a"],
            ),
            (
                "reference",
                URI_REFERENCE,
                &["/webhooks/minchat", "urn:x", "a"],
                &["", "a b", "\n"],
            ),
        ];
        for (name, rule, right, wrong) in table {
            for text in right {
                assert!((rule.holds)(text), "{name}: {text:?}");
            }
            for text in wrong {
                assert!(!(rule.holds)(text), "{name}: {text:?}");
            }
        }
    }

    #[test]
    fn a_broker_is_a_host_and_a_port() {
        for text in [
            "a:9092",
            "a",
            "10.0.0.1:9092",
            "[::1]:9092",
            "[::1]",
            "kafka-0.kafka_svc.ns.svc:9092",
        ] {
            assert!((HOST_PORT.holds)(text), "{text:?}");
        }
        for text in [
            "",
            ":9092",
            "a:",
            "a:0",
            "a:70000",
            "a:b",
            "::1",
            "[::1",
            "kafka://a:9092",
            "a b:1",
            "a:1:2",
        ] {
            assert!(!(HOST_PORT.holds)(text), "{text:?}");
        }
    }
}
