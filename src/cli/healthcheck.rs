//! `minchat-bridge healthcheck`: whether a bridge is alive, for the health checks of containers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::TlsConfig;

use super::exit;
use super::settings::SettingsArgs;
use super::target::Target;
use super::trust::{self, TrustArgs};
use crate::config;

const PATIENCE: Duration = Duration::from_secs(3);

/// Ask a running bridge whether it is alive.
///
/// Without `--url`, it asks `/livez` at the address that the configuration gives in `admin.listen`, and on
/// the loopback interface if that stands for every address. Nothing else of the configuration is checked.
///
/// Exits with 0 if the answer is a 2xx within 3 seconds, else with 69 and the reason on stderr; with 78 if
/// there is nothing to ask, since the configuration can't be read, or if there are no authorities to trust.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to ask, in place of `/livez` at `admin.listen`. `/livez` is right for what restarts a
    /// container: a broker that is down does not make it fail. `/readyz` says whether webhooks should be
    /// sent there.
    #[arg(long, value_name = "URL")]
    url: Option<Target>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the command.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let (url, tls) = match target(args) {
        Ok(target) => target,
        Err(reason) => {
            note!("minchat-bridge healthcheck: {reason}");
            return ExitCode::from(exit::CONFIGURATION);
        }
    };
    match ask(&url, tls, PATIENCE) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            note!("minchat-bridge healthcheck: {url}: {reason}");
            ExitCode::from(exit::UNAVAILABLE)
        }
    }
}

/// What to ask, and how to speak TLS there.
fn target(args: &Args) -> Result<(Target, TlsConfig), String> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => {
            let listen = config::admin_listen(&args.settings.inputs());
            livez(listen.map_err(|problems| problems.to_string())?)?
        }
    };
    let tls = args.trust.tls(&url).map_err(|error| error.to_string())?;
    Ok((url, tls))
}

/// The URL of `/livez` for whoever is beside a bridge that listens there.
fn livez(listen: SocketAddr) -> Result<Target, String> {
    let told =
        |what: &str| format!("admin.listen is {listen}, {what}; name what to ask with --url");
    if listen.port() == 0 {
        return Err(told("a port that the system chooses"));
    }
    let ip = match listen.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("http://{}/livez", SocketAddr::new(ip, listen.port()));
    url.parse().map_err(told)
}

fn ask(url: &Target, tls: TlsConfig, patience: Duration) -> Result<(), String> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(patience))
        .tls_config(tls)
        .build()
        .into();
    let answer = agent
        .get(url.uri())
        .call()
        .map_err(|error| trust::no_answer(&error, url.is_https()))?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(format!("answered {}", answer.status()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tiny_server::TinyServer;
    use super::*;

    fn asked(server: &TinyServer) -> Result<(), String> {
        let url = server.url("/livez").parse().expect("it is a URL");
        ask(&url, TlsConfig::default(), Duration::from_millis(500))
    }

    #[test]
    fn a_bridge_that_says_so_is_alive() {
        let server = TinyServer::answering(|_| (200, "ok\n".to_owned()));
        assert_eq!(asked(&server), Ok(()));
        assert_eq!(server.requests()[0].path, "/livez");
    }

    #[test]
    fn a_bridge_that_says_no_is_not() {
        let server = TinyServer::answering(|_| (503, "the lane has stopped\n".to_owned()));
        let reason = asked(&server).expect_err("503 is no");
        assert!(reason.contains("503"), "{reason}");
    }

    #[test]
    fn a_bridge_that_is_silent_or_not_there_is_not() {
        let silent = TinyServer::silent();
        assert!(asked(&silent).is_err());
        let gone = "http://127.0.0.1:1/livez".parse().expect("it is a URL");
        assert!(ask(&gone, TlsConfig::default(), PATIENCE).is_err());
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let server = TinyServer::answering(|_| (302, String::new()));
        assert!(asked(&server).is_err());
        assert_eq!(server.requests().len(), 1);
    }

    #[test]
    fn an_address_that_stands_for_all_is_asked_on_loopback() {
        for (listen, url) in [
            ("127.0.0.1:9", "http://127.0.0.1:9/livez"),
            ("192.0.2.7:9", "http://192.0.2.7:9/livez"),
            ("0.0.0.0:9", "http://127.0.0.1:9/livez"),
            ("[::]:9", "http://[::1]:9/livez"),
            ("[2001:db8::1]:9", "http://[2001:db8::1]:9/livez"),
            ("[::ffff:0.0.0.0]:9", "http://127.0.0.1:9/livez"),
            ("[fe80::1%7]:9", "http://[fe80::1]:9/livez"),
        ] {
            let listen = listen.parse().expect("it is an address");
            let found = livez(listen).map(|url| url.to_string());
            assert_eq!(found.as_deref(), Ok(url));
        }
    }

    #[test]
    fn a_port_that_the_system_chooses_is_not_guessed() {
        let listen = "127.0.0.1:0".parse().expect("it is an address");
        let told = livez(listen).expect_err("nobody knows the port");
        assert!(told.contains("admin.listen is 127.0.0.1:0"), "{told}");
    }
}
