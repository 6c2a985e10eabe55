//! What an AMQP URI may say: where and who. How to connect are settings of their own.

/// A URI that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AmqpUri {
    pub tls: bool,
    pub has_user: bool,
    pub has_password: bool,
    /// The URI, with `***` for the password.
    pub shown: String,
}

/// Reads `amqp[s]://[user[:password]@]host[:port][/vhost]`.
///
/// # Errors
/// What is wrong with it. It quotes nothing, as the URI may hold a password.
pub(super) fn parse(text: &str) -> Result<AmqpUri, &'static str> {
    let (tls, rest) = match text.split_once("://") {
        Some(("amqp", rest)) => (false, rest),
        Some(("amqps", rest)) => (true, rest),
        _ => return Err("it does not begin with amqp:// or amqps://"),
    };
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || !escapes_hold(text) {
        return Err("it has a character that has to be written as %XX");
    }
    if rest.contains(['?', '#']) {
        return Err("it has parameters, which are settings of their own");
    }
    let (authority, vhost) = rest.split_once('/').unwrap_or((rest, "%2f"));
    if vhost.is_empty() {
        return Err("it ends with '/', which is a vhost without a name");
    }
    if vhost.contains('/') {
        return Err("its vhost has a '/' that is not written as %2f");
    }
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    check_address(address)?;
    let password = user.map(parse_user).transpose()?.flatten();
    Ok(AmqpUri {
        tls,
        has_user: user.is_some(),
        has_password: password.is_some(),
        shown: match password {
            Some(password) => text.replacen(&format!(":{password}@"), ":***@", 1),
            None => text.to_owned(),
        },
    })
}

/// The password, if there is one.
fn parse_user(user: &str) -> Result<Option<&str>, &'static str> {
    let (name, password) = match user.split_once(':') {
        Some((name, password)) => (name, Some(password)),
        None => (user, None),
    };
    if name.is_empty() || password == Some("") || user.contains('@') {
        return Err("its user or password is empty, or has a '@' that is not written as %40");
    }
    Ok(password)
}

fn check_address(address: &str) -> Result<(), &'static str> {
    let (host, port) = match address.rsplit_once(':') {
        // The colons of an IPv6 address stand between brackets, and no port follows them here.
        Some((_, rest)) if rest.ends_with(']') => (address, None),
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    };
    if !super::names::is_host(host) {
        return Err("it has no host, or one that is no name");
    }
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(()),
        Some(_) => Err("its port is not a number from 1 to 65535"),
    }
}

fn escapes_hold(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_shown_without_its_password() {
        let table = [
            ("amqp://localhost", "amqp://localhost"),
            (
                "amqp://u:hunter2@rabbit:5672/prod",
                "amqp://u:***@rabbit:5672/prod",
            ),
            ("amqps://u@rabbit/%2f", "amqps://u@rabbit/%2f"),
            ("amqp://u:hunter%402@10.0.0.1", "amqp://u:***@10.0.0.1"),
            ("amqp://u:hunter2:hunter2@rabbit", "amqp://u:***@rabbit"),
            ("amqp://[::1]", "amqp://[::1]"),
            (
                "amqps://u:hunter2@[2001:db8::1]:5671/prod",
                "amqps://u:***@[2001:db8::1]:5671/prod",
            ),
        ];
        for (text, shown) in table {
            let uri = parse(text).expect(text);
            assert_eq!(uri.shown, shown);
            assert_eq!(uri.tls, text.starts_with("amqps"));
            assert_eq!(uri.has_password, text.contains("hunter"));
        }
    }

    #[test]
    fn what_the_client_would_misread_is_refused_without_quoting_it() {
        let table = [
            "rabbit:5672",
            "http://rabbit",
            "amqp://",
            "amqp://:5672",
            "amqp://rabbit:0",
            "amqp://rabbit:99999",
            "amqp://rabbit/",
            "amqp://rabbit/a/b",
            "amqp://rabbit?heartbeat=0",
            "amqp://rabbit/a#b",
            "amqp://::1",
            "amqp://[::1",
            "amqp://::1]",
            "amqp://[::1]x:5672",
            "amqp://[::1]:",
            "amqp://[::1]:0",
            "amqp://[rabbit]:5672",
            "amqp://[fe80::1%25eth0]",
            "amqp://rabbit:5672:5672",
            "amqp://u:hunter2 @rabbit",
            "amqp://u:hunter2%zz@rabbit",
            "amqp://u:hunter2@x@rabbit",
            "amqp://:hunter2@rabbit",
            "amqp://u:@rabbit",
        ];
        for text in table {
            let wrong = parse(text).expect_err(text);
            assert!(!wrong.contains("hunter2"));
        }
    }
}
