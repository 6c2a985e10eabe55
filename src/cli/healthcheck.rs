//! `minchat-bridge healthcheck`: whether a bridge is alive, for the health checks of containers.

use std::process::ExitCode;
use std::time::Duration;

use ureq::Agent;

use super::exit;
use super::target::Target;

const PATIENCE: Duration = Duration::from_secs(3);

/// Ask a running bridge whether it is alive.
///
/// Exits with 0 if the answer is a 2xx within 3 seconds, else with 69 and the reason on stderr.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to ask. `/livez` is right for what restarts a container: a broker that is down does not
    /// make it fail. `/readyz` says whether webhooks should be sent there.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8081/livez"
    )]
    pub url: Target,
}

/// Runs the command.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    match ask(&args.url, PATIENCE) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("minchat-bridge healthcheck: {}: {reason}", args.url);
            ExitCode::from(exit::UNAVAILABLE)
        }
    }
}

fn ask(url: &Target, patience: Duration) -> Result<(), String> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(patience))
        .build()
        .into();
    let answer = agent
        .get(url.uri())
        .call()
        .map_err(|error| error.to_string())?;
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
        ask(&url, Duration::from_millis(500))
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
        assert!(ask(&gone, PATIENCE).is_err());
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let server = TinyServer::answering(|_| (302, String::new()));
        assert!(asked(&server).is_err());
        assert_eq!(server.requests().len(), 1);
    }
}
