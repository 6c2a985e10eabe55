//! Whether the files of TLS are what they should be, and fit together.

use std::path::Path;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::judge::{Judge, at};
use super::shown::quoted;
use crate::certificates::{self, Unusable};

/// The files of one section.
#[derive(Clone, Copy)]
struct Files<'a> {
    section: &'static str,
    cert: Option<&'a Path>,
    key: Option<&'a Path>,
    /// The setting of the authority, and its file.
    authority: (&'static str, Option<&'a Path>),
    /// Whether rustls is what reads them: OpenSSL knows more sorts of keys.
    by_rustls: bool,
}

pub(super) fn check(judge: &mut Judge<'_>) {
    let config = judge.config;
    if let Some(tls) = &config.http.tls {
        let files = Files {
            section: "http.tls",
            cert: Some(&tls.cert_file),
            key: Some(&tls.key_file),
            authority: ("client_ca_file", tls.client_ca_file.as_deref()),
            by_rustls: true,
        };
        check_files(judge, files);
    }
    if let Some(tls) = config.kafka.as_ref().and_then(|kafka| kafka.tls.as_ref()) {
        let files = Files {
            section: "kafka.tls",
            cert: tls.cert_file.as_deref(),
            key: tls.key_file.as_deref(),
            authority: ("ca_file", tls.ca_file.as_deref()),
            by_rustls: false,
        };
        check_files(judge, files);
    }
    let sasl = config.kafka.as_ref().and_then(|kafka| kafka.sasl.as_ref());
    if let Some(oauth) = sasl.and_then(|sasl| sasl.oauth.as_ref()) {
        let files = Files {
            section: "kafka.sasl.oauth",
            cert: None,
            key: None,
            authority: ("ca_file", oauth.ca_file.as_deref()),
            by_rustls: false,
        };
        check_files(judge, files);
    }
    if let Some(tls) = config.amqp.as_ref().and_then(|amqp| amqp.tls.as_ref()) {
        let files = Files {
            section: "amqp.tls",
            cert: tls.cert_file.as_deref(),
            key: tls.key_file.as_deref(),
            authority: ("ca_file", tls.ca_file.as_deref()),
            by_rustls: true,
        };
        check_files(judge, files);
    }
}

fn check_files(judge: &mut Judge<'_>, files: Files<'_>) {
    let (setting, authority) = files.authority;
    if let Some(file) = authority
        && let Err(why) = certificates::authority(file)
    {
        tell(judge, files.section, setting, file, why);
    }
    if let (Some(cert), Some(key)) = (files.cert, files.key) {
        match certificates::identity(cert, key) {
            Ok(_) => {}
            Err(Unusable::UnknownKey) if !files.by_rustls => {}
            Err(why @ (Unusable::Certificate(_) | Unusable::Authority(_))) => {
                tell(judge, files.section, "cert_file", cert, why);
            }
            Err(why) => tell(judge, files.section, "key_file", key, why),
        }
        warn_of_time(judge, files.section, cert);
    }
}

/// Whoever is shown a certificate that is not valid now refuses it.
fn warn_of_time(judge: &mut Judge<'_>, section: &str, cert: &Path) {
    let Some(validity) = certificates::validity(cert) else {
        return;
    };
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let (what, at) = if now > validity.not_after {
        ("expired at", validity.not_after)
    } else if now < validity.not_before {
        ("is not valid before", validity.not_before)
    } else {
        return;
    };
    let at = OffsetDateTime::from_unix_timestamp(at).ok();
    let at = at.and_then(|at| at.format(&Rfc3339).ok());
    judge.warn(format!(
        "{section}.cert_file: the certificate in {} {what} {}: whoever it is shown to refuses it",
        quoted(&cert.display().to_string()),
        at.unwrap_or_else(|| "a time that can't be written".to_owned())
    ));
}

fn tell(judge: &mut Judge<'_>, section: &str, setting: &str, file: &Path, why: Unusable) {
    let right = match why {
        Unusable::Mismatch => format!("give the key of the certificate in {section}.cert_file"),
        Unusable::UnknownKey => {
            "give a key of RSA, or of ECDSA by P-256 or P-384, or of Ed25519".to_owned()
        }
        Unusable::Key(_) => "give a private key in PEM, without a password".to_owned(),
        Unusable::Certificate(_) | Unusable::Authority(_) => "give certificates in PEM".to_owned(),
    };
    let name = quoted(&file.display().to_string());
    judge.refuse(
        &[at(&format!("{section}.{setting}"))],
        format!("{name}: {why}"),
        right,
    );
}
