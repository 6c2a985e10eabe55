use std::fs;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::HeaderValue;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::tls::TlsConfig;

use super::super::trust;
use super::answer::{Answer, Posted};
use super::payload::Payload;
use super::{Args, EmitError};

/// Longer than a bridge lets a sender wait.
const PATIENCE: Duration = Duration::from_secs(20);
/// An answer of a bridge is much smaller; what is not one is not read to its end.
const LARGEST_ANSWER: u64 = 64 * 1024;

/// Posts payloads to one URL.
pub(super) struct Client {
    url: String,
    authorization: Option<HeaderValue>,
    tls: TlsConfig,
}

impl Client {
    pub(super) fn new(args: &Args) -> Result<Self, EmitError> {
        let url = if args.dry_run {
            args.url.dry_run()
        } else {
            args.url.uri().to_string()
        };
        let authorization = token(args)?.map(bearer).transpose()?;
        Ok(Self {
            url,
            authorization,
            tls: args.trust.tls(&args.url)?,
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
            .map_err(|error| trust::no_answer(&error));
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

fn token(args: &Args) -> Result<Option<String>, EmitError> {
    let Some(file) = &args.token_file else {
        return Ok(args.token.clone());
    };
    let text = fs::read_to_string(file).map_err(|source| EmitError::TokenFile {
        file: file.display().to_string(),
        source,
    })?;
    Ok(text.lines().next().map(|line| line.trim().to_owned()))
}

fn bearer(token: String) -> Result<HeaderValue, EmitError> {
    if token.is_empty() {
        return Err(EmitError::Token);
    }
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| EmitError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
