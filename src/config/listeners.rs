//! Who may reach the bridge, and who gets in.

use std::net::SocketAddr;

use super::judge::{Judge, at};
use super::path::SettingPath;
use crate::certificates;

pub(super) fn check(judge: &mut Judge<'_>) {
    let (http, admin) = (judge.config.http.listen, judge.config.admin.listen);
    if collide(http, admin) {
        judge.refuse(
            &[at("admin.listen"), at("http.listen")],
            format!("http.listen ({http}) and admin.listen ({admin}) are one address"),
            "give each a port of its own",
        );
    }
    check_client_authority(judge);
    for source in &judge.config.sources {
        let auth = SettingPath::of(["sources", source.name.as_str(), "auth"]);
        let (has_any, none) = (source.auth.has_credentials(), source.auth.none);
        check_credentials(judge, &source.name, &auth, has_any, none, http);
        let hmac = source.auth.hmac.as_ref();
        if hmac.is_some_and(|hmac| hmac.timestamp_header.is_none()) {
            judge.warn(format!(
                "{auth}.hmac has no timestamp_header: whoever records a signed request can send it again for ever"
            ));
        }
    }
}

/// Client certificates need an authority that vouches for them.
fn check_client_authority(judge: &mut Judge<'_>) {
    let tls = judge.config.http.tls.as_ref();
    let file = tls.and_then(|tls| tls.client_ca_file.as_deref());
    let authority = file.is_some();
    // What can't be read is told with the other files.
    let all = file.and_then(|file| certificates::authority_certificates(file).ok());
    if all.is_some_and(|all| !all.iter().all(certificates::is_of_authority)) {
        judge.warn(
            "http.tls.client_ca_file has a certificate that is no authority's (CA:TRUE): no certificate that an authority issued is good by it",
        );
    }
    let mut sources = judge.config.sources.iter();
    let by_certificate = sources.find(|source| source.auth.mtls.is_some());
    match by_certificate {
        Some(source) if !authority => judge.refuse(
            &[
                SettingPath::of(["sources", source.name.as_str(), "auth", "mtls"]),
                at("http.tls.client_ca_file"),
            ],
            "it lets in by client certificates, and there is no http.tls.client_ca_file",
            "give the authority of the certificates in http.tls.client_ca_file",
        ),
        None if authority => judge.warn(
            "http.tls.client_ca_file is given, and no source has auth.mtls: client certificates let nobody in",
        ),
        _ => {}
    }
}

fn check_credentials(
    judge: &mut Judge<'_>,
    source: &str,
    auth: &SettingPath,
    has_any: bool,
    none: bool,
    listen: SocketAddr,
) {
    let paths = [auth.child("none"), auth.clone(), auth.parent()];
    let how = format!(
        "name a file with one token a line in {auth}.tokens_file, or say {auth}.none: true to let everybody in"
    );
    match (has_any, none) {
        (true, true) => judge.refuse(
            &[auth.child("none")],
            "it lets everybody in, so that the credentials mean nothing",
            format!("drop {auth}.none, or the credentials"),
        ),
        (false, false) if judge.has_file() => judge.refuse(
            &paths,
            format!("the source {source} has no credentials, so that nobody gets in"),
            how,
        ),
        (false, false) => judge.refuse(
            &[at("http.listen")],
            format!("{listen} is not a loopback address, and there is no configuration file that says who gets in"),
            "write one, in which every source has credentials or says auth.none: true",
        ),
        (false, true) if !listen.ip().is_loopback() => {
            judge.warn(format!(
                "{auth}.none is true: whoever reaches {listen} can post as {source}"
            ));
        }
        _ => {}
    }
}

/// Whether two listeners can't both be bound.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && overlap
}
