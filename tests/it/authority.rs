//! Certificates that a test makes.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};

/// Who vouches for certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, PEM.
pub struct Certificate {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("it takes nothing");
        let pem = params.self_signed(&key).expect("the parameters hold").pem();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// For `localhost` and 127.0.0.1, and for clients of that name.
    pub fn certify(&self, name: &str) -> Certificate {
        self.certify_with(name, |_| {})
    }

    pub fn certify_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("it is a name");
        params
            .subject_alt_names
            .push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = KeyPair::generate().expect("it takes nothing");
        let cert = params
            .signed_by(&key, &self.issuer)
            .expect("the parameters hold");
        Certificate {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Certificate {
    /// Writes `<name>.pem` and `<name>.key` into the directory.
    pub fn write(&self, dir: &Path, name: &str) {
        for (end, text) in [("pem", &self.cert), ("key", &self.key)] {
            std::fs::write(dir.join(format!("{name}.{end}")), text).expect("it can be written");
        }
    }
}
