//! Where a broker is and how the bridge presents itself there, from the settings.

use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use lapin::{ConnectionProperties, types::LongString};

use super::settings::{AuthMechanism, Settings};
use crate::publish::{Class, Failure, Reason};

/// One of the configured brokers. It has no `Debug`, because of the password.
pub(super) struct Address {
    /// As lapin wants it.
    pub(super) uri: AMQPUri,
}

impl Address {
    /// The address at this place in the settings.
    pub(super) fn new(settings: &Settings, place: usize) -> Result<Self, Failure> {
        let text = settings.uris[place].expose();
        // The parser's own error may repeat the URI.
        let mut uri: AMQPUri = text.parse().map_err(|_| not_a_uri(place))?;
        // The parser takes an IPv6 address for none at all, and would connect to this host.
        if let Some(address) = ipv6(text) {
            uri.authority.host = address.to_owned();
        }
        if let Some(password) = &settings.password {
            uri.authority.userinfo.password = password.expose().to_owned();
        }
        uri.query.auth_mechanism = Some(match settings.auth_mechanism {
            AuthMechanism::Plain => SASLMechanism::Plain,
            AuthMechanism::External => SASLMechanism::External,
        });
        // Whole seconds on the wire; 0 would turn them off.
        let seconds = settings
            .heartbeat
            .as_secs_f64()
            .ceil()
            .clamp(1.0, f64::from(u16::MAX));
        uri.query.heartbeat = Some(seconds as u16);
        Ok(Address { uri })
    }

    /// For people: host and port.
    pub(super) fn place(&self) -> String {
        let authority = &self.uri.authority;
        match authority.host.contains(':') {
            true => format!("[{}]:{}", authority.host, authority.port),
            false => format!("{}:{}", authority.host, authority.port),
        }
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS
    }
}

/// What the broker shows its operators about a connection of the bridge.
pub(super) fn properties() -> ConnectionProperties {
    let name = LongString::from(env!("CARGO_PKG_NAME"));
    ConnectionProperties::default()
        .with_connection_name(name.clone())
        .with_client_property("product".into(), name)
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
}

/// What stands between brackets where a URI has its host.
fn ipv6(uri: &str) -> Option<&str> {
    let authority = uri.split_once("://")?.1.split(['/', '?']).next()?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    Some(host.strip_prefix('[')?.split_once(']')?.0)
}

fn not_a_uri(place: usize) -> Failure {
    let detail = format!("amqp.uris: number {} is no AMQP URI", place + 1);
    Failure {
        class: Class::Operator,
        reason: Reason::Other,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::publish::amqp::settings::ContentMode;
    use crate::secret::Secret;

    fn address(uri: &str, password: Option<&str>) -> Result<Address, Failure> {
        let settings = Settings {
            uris: vec![Secret::new(uri)],
            password: password.map(Secret::new),
            auth_mechanism: AuthMechanism::Plain,
            tls: None,
            declare: true,
            content_mode: ContentMode::Structured,
            heartbeat: Duration::from_millis(4500),
        };
        Address::new(&settings, 0)
    }

    #[test]
    fn the_host_is_the_one_that_the_uri_says() {
        let rows = [
            ("amqp://h", "h:5672"),
            ("amqps://u:p@h.example/v", "h.example:5671"),
            ("amqp://127.0.0.1:1/v", "127.0.0.1:1"),
            ("amqp://u:p@[::1]:5673/%2f", "[::1]:5673"),
            ("amqp://[fe80::1]", "[fe80::1]:5672"),
        ];
        for (uri, place) in rows {
            let address = address(uri, None).unwrap_or_else(|failure| panic!("{uri}: {failure:?}"));
            assert_eq!(address.place(), place, "{uri}");
        }
    }

    #[test]
    fn the_password_of_the_settings_wins_and_a_heartbeat_is_whole_seconds() {
        let uri = address("amqp://u:old@h", Some("new"))
            .map(|address| address.uri)
            .unwrap();
        assert_eq!(uri.authority.userinfo.username, "u");
        assert_eq!(uri.authority.userinfo.password, "new");
        assert_eq!(uri.query.heartbeat, Some(5));
    }

    #[test]
    fn what_is_no_uri_is_told_by_its_place_alone() {
        let Err(failure) = address("hunter2", None) else {
            panic!("no URI")
        };
        assert_eq!(failure.detail, "amqp.uris: number 1 is no AMQP URI");
    }
}
