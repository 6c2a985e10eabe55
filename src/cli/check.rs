//! `minchat-bridge check`: whether a configuration holds, and what it amounts to.

use std::fmt::Write;
use std::process::ExitCode;

use super::{output, settings::SettingsArgs};
use crate::config::{Config, Loaded};
use crate::http::settings::{AuthSettings, SourceSettings};
use crate::route::settings::RouteSettings;

/// Check the configuration, and with --connect also each broker and each topic or exchange.
///
/// Exits with 0, with 78 if the configuration does not hold, with 69 if something can't be reached.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    /// Reach each broker and each topic or exchange too.
    #[arg(long)]
    connect: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    for warning in &loaded.warnings {
        note!("warning: {warning}");
    }
    let printed = output::print(summary(&loaded).as_bytes());
    if args.connect && printed == ExitCode::SUCCESS {
        super::topics::probe(&loaded, false)
    } else {
        printed
    }
}

/// What the configuration amounts to, one line a thing.
fn summary(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let mut text = String::from("The configuration holds.\n");
    let mut line = |name: &str, what: String| {
        let _ = writeln!(text, "  {name:<9} {what}");
    };
    for source in &config.sources {
        let who = who(source);
        line(
            "webhooks",
            format!(
                "{}://{}/webhooks/{} ({who})",
                config.http.scheme(),
                config.http.listen,
                source.name
            ),
        );
    }
    line("admin", format!("http://{}/", config.admin.listen));
    for (broker, what) in brokers(loaded) {
        line(broker, what);
    }
    for (kind, route) in &config.routes {
        line("route", format!("{kind} to {}", destinations(route)));
    }
    line(
        "route",
        format!(
            "{} to every broker above",
            if config.routes.is_empty() {
                "every kind"
            } else {
                "all others"
            }
        ),
    );
    line("spool", spool(config, loaded));
    line(
        "stop",
        format!(
            "within {} s; terminationGracePeriodSeconds has to be more",
            config.stops_within().as_secs()
        ),
    );
    text
}

/// How a source lets in, and from where.
fn who(source: &SourceSettings) -> String {
    let how = match source.auth.none {
        true => "lets everybody in".to_owned(),
        false => format!("by {}", credentials(&source.auth)),
    };
    let networks: Vec<String> = source.allow_from.iter().map(ToString::to_string).collect();
    match (networks.is_empty(), source.auth.none) {
        (true, _) => how,
        (false, true) => format!("{how} from {}", networks.join(", ")),
        (false, false) => format!("{how}, from {}", networks.join(", ")),
    }
}

fn credentials(auth: &AuthSettings) -> String {
    let count = |count: usize, name: &str| match count {
        0 => None,
        1 => Some(format!("1 {name}")),
        _ => Some(format!("{count} {name}s")),
    };
    let keys = auth.hmac.as_ref().map_or(0, |hmac| hmac.secrets.len());
    let standard = auth.standard_webhooks.as_ref();
    let all = [
        count(auth.tokens.len(), "token"),
        count(keys, "HMAC secret"),
        count(
            standard.map_or(0, |settings| settings.secrets.len()),
            "Standard Webhooks secret",
        ),
    ];
    let certificate = auth.mtls.as_ref().map(|mtls| match mtls.names.is_empty() {
        true => "any client certificate of the authority".to_owned(),
        false => "client certificate".to_owned(),
    });
    let all = all.into_iter().chain([certificate]).flatten();
    all.collect::<Vec<_>>().join(" or ")
}

fn brokers(loaded: &Loaded) -> Vec<(&'static str, String)> {
    let config = &loaded.config;
    let mut brokers = Vec::new();
    if let Some(kafka) = &config.kafka {
        brokers.push((
            "kafka",
            format!(
                "{} ({})",
                kafka.bootstrap_servers.join(","),
                kafka.security_protocol.as_str()
            ),
        ));
    }
    if config.amqp.is_some() {
        brokers.push((
            "amqp",
            shown(loaded, "amqp.uri")
                .or_else(|| shown(loaded, "amqp.uris"))
                .unwrap_or_default(),
        ));
    }
    if let Some(file) = &config.file {
        brokers.push(("file", file.dir.display().to_string()));
    }
    brokers
}

fn spool(config: &Config, loaded: &Loaded) -> String {
    match config.spool.max_size {
        0 => "off".to_owned(),
        _ => format!(
            "{}, at most {}",
            config.spool.dir.display(),
            shown(loaded, "spool.max_size").unwrap_or_default()
        ),
    }
}

fn destinations(route: &RouteSettings) -> String {
    let or_default =
        |name: Option<&String>| name.cloned().unwrap_or_else(|| "its own name".to_owned());
    let mut destinations = Vec::new();
    if let Some(kafka) = &route.kafka {
        destinations.push(format!("kafka ({})", or_default(kafka.topic.as_ref())));
    }
    if let Some(amqp) = &route.amqp {
        destinations.push(format!("amqp ({})", or_default(amqp.exchange.as_ref())));
    }
    if let Some(file) = &route.file {
        destinations.push(format!("file ({})", or_default(file.name.as_ref())));
    }
    if destinations.is_empty() {
        "nowhere".to_owned()
    } else {
        destinations.join(", ")
    }
}

/// A setting as it may be shown.
fn shown(loaded: &Loaded, path: &str) -> Option<String> {
    loaded
        .effective
        .iter()
        .find(|effective| effective.path.to_string() == path)
        .map(|effective| effective.value.clone())
}
