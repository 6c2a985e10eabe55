use std::time::{Duration, Instant};
use std::{env, fs};

use ureq::Agent;
use ureq::http::HeaderValue;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::tls::TlsConfig;

use super::super::trust;
use super::answer::{Answer, Posted};
use super::payload::Payload;
use super::{Args, EmitError};

/// Where a token is that no flag gives.
const VARIABLE: &str = "MINCHAT_BRIDGE_TOKEN";
/// Longer than a bridge lets a sender wait.
const PATIENCE: Duration = Duration::from_secs(20);
/// An answer of a bridge is much smaller; what is not one is not read to its end.
const LARGEST_ANSWER: u64 = 64 * 1024;

/// Posts payloads to one URL.
pub(super) struct Client {
    url: String,
    authorization: Option<HeaderValue>,
    tls: TlsConfig,
    is_https: bool,
}

impl Client {
    pub(super) fn new(args: &Args) -> Result<Self, EmitError> {
        let url = if args.dry_run {
            args.url.dry_run()
        } else {
            args.url.uri().to_string()
        };
        let authorization = authorization(args)?;
        Ok(Self {
            url,
            authorization,
            tls: args.trust.tls(&args.url)?,
            is_https: args.url.is_https(),
        })
    }

    /// A connection that is kept from one post to the next.
    pub(super) fn connection(&self) -> Connection<'_> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE))
            .tls_config(self.tls.clone())
            .build()
            .into();
        Connection {
            client: self,
            agent,
        }
    }
}

/// One connection of a [`Client`].
pub(super) struct Connection<'a> {
    client: &'a Client,
    agent: Agent,
}

impl Connection<'_> {
    /// Posts one payload and reads its answer.
    pub(super) fn post(&self, payload: &Payload) -> Posted {
        let began = Instant::now();
        let answer = self
            .exchange(payload)
            .map_err(|error| trust::no_answer(&error, self.client.is_https));
        Posted {
            kind: payload.kind,
            took: began.elapsed(),
            answer,
        }
    }

    fn exchange(&self, payload: &Payload) -> Result<Answer, ureq::Error> {
        let mut request = self
            .agent
            .post(&self.client.url)
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.client.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut response = request.send(&payload.json)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(LARGEST_ANSWER);
        match body.read_to_vec() {
            Ok(body) => Ok(Answer::read(status, &body)),
            Err(ureq::Error::BodyExceedsLimit(_)) => Ok(Answer::read(status, &[])),
            Err(error) => Err(error),
        }
    }
}

/// The token's header: from the file, the flag or the variable, whichever of these is given first.
fn authorization(args: &Args) -> Result<Option<HeaderValue>, EmitError> {
    let Some(file) = &args.token_file else {
        let variable = || env::var_os(VARIABLE).map(|token| token.to_string_lossy().into_owned());
        let token = args.token.clone().or_else(variable);
        let header = token.map(|token| bearer(&token).ok_or(EmitError::Token));
        return header.transpose();
    };
    let name = || file.display().to_string();
    let text = fs::read_to_string(file).map_err(|source| EmitError::TokenFile {
        file: name(),
        source,
    })?;
    let token = text.lines().next().unwrap_or_default().trim();
    let why = if token.starts_with('\u{feff}') {
        "begins with a byte order mark; save it as UTF-8 without one"
    } else if token.is_empty() {
        "has no token in its first line; write the source's token there"
    } else {
        "has something in its first line that is not printable ASCII; write the source's token there"
    };
    match bearer(token) {
        Some(header) => Ok(Some(header)),
        None => Err(EmitError::NoTokenInFile { file: name(), why }),
    }
}

/// Nothing, if a header can't carry the token.
fn bearer(token: &str) -> Option<HeaderValue> {
    let is_token = !token.is_empty() && token.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let header = HeaderValue::from_str(&format!("Bearer {token}")).ok();
    let mut header = header.filter(|_| is_token)?;
    header.set_sensitive(true);
    Some(header)
}
