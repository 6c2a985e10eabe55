//! How the brokers are reached: what of TLS and logins goes with what.

use std::path::PathBuf;

use super::amqp_uri;
use super::judge::{Judge, at};
use crate::publish::amqp::settings::AuthMechanism;
use crate::publish::kafka::settings::{Mechanism, Sasl, SecurityProtocol};

pub(super) fn check(judge: &mut Judge<'_>) {
    if !cfg!(feature = "kafka") && judge.config.kafka.is_some() {
        judge.refuse(
            &[at("kafka")],
            "this build has no Kafka client",
            "build it with the feature kafka",
        );
    }
    if !cfg!(feature = "amqp") && judge.config.amqp.is_some() {
        judge.refuse(
            &[at("amqp")],
            "this build has no AMQP client",
            "build it with the feature amqp",
        );
    }
    check_kafka(judge);
    check_amqp(judge);
}

fn check_kafka(judge: &mut Judge<'_>) {
    let Some(kafka) = &judge.config.kafka else {
        return;
    };
    let protocol = kafka.security_protocol;
    let name = protocol.as_str();
    let here = || at("kafka.security_protocol");
    match (protocol.has_sasl(), &kafka.sasl) {
        (true, None) => judge.refuse(
            &[here(), at("kafka.sasl")],
            format!("{name} needs a login, and there is no section kafka.sasl"),
            "give kafka.sasl.username and kafka.sasl.password_file",
        ),
        (false, Some(_)) => judge.refuse(
            &[here(), at("kafka.sasl")],
            format!("{name} does not log in, and there is a section kafka.sasl"),
            "give sasl_ssl or sasl_plaintext, or drop kafka.sasl",
        ),
        (true, Some(sasl))
            if protocol == SecurityProtocol::SaslPlaintext
                && sasl.mechanism == Mechanism::Plain =>
        {
            judge.warn(
                "kafka.security_protocol sasl_plaintext with PLAIN sends the password in the clear",
            );
        }
        _ => {}
    }
    if let Some(sasl) = &kafka.sasl {
        check_kafka_login(judge, sasl);
    }
    if let Some(tls) = &kafka.tls {
        if !protocol.has_tls() {
            judge.refuse(
                &[here(), at("kafka.tls")],
                format!("{name} has no TLS, and there is a section kafka.tls"),
                "give ssl or sasl_ssl, or drop kafka.tls",
            );
        }
        check_pair(
            judge,
            "kafka",
            tls.cert_file.as_ref(),
            tls.key_file.as_ref(),
        );
    }
}

fn check_kafka_login(judge: &mut Judge<'_>, sasl: &Sasl) {
    let here = |key: &str| at(&format!("kafka.sasl.{key}"));
    let by_token = sasl.mechanism == Mechanism::OAuthBearer;
    if by_token && !cfg!(feature = "oauth") {
        judge.refuse(
            &[here("mechanism")],
            "this build has no OAUTHBEARER",
            "build it with the feature oauth",
        );
    } else if by_token && sasl.oauth.is_none() {
        judge.refuse(
            &[here("mechanism")],
            "OAUTHBEARER needs tokens, and there is no section kafka.sasl.oauth",
            "give kafka.sasl.oauth.token_endpoint, client_id and client_secret_file",
        );
    }
    if !by_token && sasl.oauth.is_some() {
        judge.refuse(
            &[here("oauth")],
            format!("{} does not log in by tokens", sasl.mechanism.as_str()),
            "give the mechanism OAUTHBEARER, or drop kafka.sasl.oauth",
        );
    }
    if let Some(oauth) = &sasl.oauth
        && oauth.token_endpoint.starts_with("http://")
    {
        judge.warn("kafka.sasl.oauth.token_endpoint sends the client's secret in the clear");
    }
    for (key, is_there) in [
        ("username", sasl.username.is_some()),
        ("password", sasl.password.is_some()),
    ] {
        if !by_token && !is_there {
            let also = if key == "password" { "_file" } else { "" };
            judge.refuse(
                &[here(key), at("kafka.sasl")],
                format!("{} needs it", sasl.mechanism.as_str()),
                format!("give kafka.sasl.{key}{also}"),
            );
        } else if by_token && is_there {
            judge.refuse(
                &[here(key), here(&format!("{key}_file"))],
                "OAUTHBEARER logs in by tokens, and needs none",
                "drop it",
            );
        }
    }
}

fn check_amqp(judge: &mut Judge<'_>) {
    let Some(amqp) = &judge.config.amqp else {
        return;
    };
    match (
        judge.is_given(&at("amqp.uri")),
        judge.is_given(&at("amqp.uris")),
    ) {
        (false, false) => judge.refuse(
            &[at("amqp"), at("amqp.uri"), at("amqp.uris")],
            "neither amqp.uri nor amqp.uris is given",
            "give amqp.uri: amqp://user@host, or drop the section",
        ),
        (true, true) => {
            judge.refuse(
                &[at("amqp.uri"), at("amqp.uris")],
                "amqp.uris is given too",
                "give one of them",
            );
        }
        _ => {}
    }
    if amqp.heartbeat.subsec_nanos() > 0 {
        judge.refuse(
            &[at("amqp.heartbeat")],
            "AMQP counts heartbeats in whole seconds",
            "give whole seconds",
        );
    }
    let uris: Vec<_> = amqp
        .uris
        .iter()
        .filter_map(|uri| amqp_uri::parse(uri.expose()).ok())
        .collect();
    let tls = amqp.tls.as_ref();
    if tls.is_some() && !uris.iter().any(|uri| uri.tls) {
        judge.refuse(
            &[at("amqp.tls"), at("amqp.uri"), at("amqp.uris")],
            "no URI is one of amqps://",
            "give amqps://, or drop amqp.tls",
        );
    }
    if let Some(tls) = tls {
        check_pair(judge, "amqp", tls.cert_file.as_ref(), tls.key_file.as_ref());
    }
    check_amqp_login(judge, amqp.auth_mechanism, &uris);
}

fn check_amqp_login(judge: &mut Judge<'_>, mechanism: AuthMechanism, uris: &[amqp_uri::AmqpUri]) {
    let amqp = judge.config.amqp.as_ref();
    let has_password = amqp.is_some_and(|amqp| amqp.password.is_some());
    let has_cert = amqp
        .and_then(|amqp| amqp.tls.as_ref())
        .is_some_and(|tls| tls.cert_file.is_some());
    let all_tls = uris.iter().all(|uri| uri.tls);
    let said = [
        "amqp.uri",
        "amqp.uris",
        "amqp.password",
        "amqp.password_file",
    ]
    .map(at);
    if has_password && uris.iter().any(|uri| uri.has_password) {
        judge.refuse(
            &[&said[2..], &said[..2]].concat(),
            "a URI has a password too",
            "give it in one place",
        );
    }
    match mechanism {
        AuthMechanism::Plain if uris.iter().any(|uri| uri.has_user && !uri.has_password) && !has_password => {
            judge.refuse(&said, "it names a user without a password", "give amqp.password_file");
        }
        AuthMechanism::External if has_password || uris.iter().any(|uri| uri.has_password) => judge.refuse(
            &[at("amqp.auth_mechanism"), at("amqp.password"), at("amqp.password_file")],
            "external logs in by certificate, and there is a password",
            "drop the password, or give plain",
        ),
        AuthMechanism::External if !has_cert || !all_tls => judge.refuse(
            &[at("amqp.auth_mechanism"), at("amqp.tls")],
            "external logs in by certificate, and not every URI is amqps:// or there is no certificate",
            "give amqps:// URIs, amqp.tls.cert_file and amqp.tls.key_file",
        ),
        _ => {}
    }
}

fn check_pair(judge: &mut Judge<'_>, broker: &str, cert: Option<&PathBuf>, key: Option<&PathBuf>) {
    if cert.is_some() != key.is_some() {
        judge.refuse(
            &[
                at(&format!("{broker}.tls.cert_file")),
                at(&format!("{broker}.tls.key_file")),
            ],
            "a certificate and its key come together",
            format!("give both {broker}.tls.cert_file and {broker}.tls.key_file, or neither"),
        );
    }
}
