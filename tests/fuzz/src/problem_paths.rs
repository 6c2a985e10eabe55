//! Any bytes as an HTTP request: it is let in exactly with a credential, or answered with a problem that is one.

use std::time::{Duration, SystemTime};

use actix_http::h1::{Codec, Message};
use actix_http::{Request, ServiceConfig};
use actix_web::body::MessageBody;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::test::TestRequest;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use hmac::{Hmac, Mac};
use minchat_bridge::http::Slug;
use minchat_bridge::http::fuzzing::{Checks, LetIn};
use minchat_bridge::http::settings::{
    AuthSettings, HmacSettings, SignatureEncoding, SourceSettings, StandardWebhooksSettings,
};
use minchat_bridge::secret::Secret;
use serde::Deserialize;
use sha2::Sha256;
use tokio_util::codec::Decoder;

const MAX_BODY: usize = 256 << 10;
const TOKEN: &[u8] = b"s3cr%t+/=";
const KEY: &[u8] = b"It's a Secret to Everybody";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const SOURCES: [&str; 4] = ["open", "tokens", "signed", "standard"];

thread_local! {
    static CHECKS: Checks = Checks::new(SOURCES.map(source).into(), MAX_BODY, 64 << 10);
    /// Its clock is a task, and so it is made in a runtime.
    static CONFIG: ServiceConfig = actix_web::rt::System::new().block_on(async { ServiceConfig::default() });
}

fn source(name: &str) -> SourceSettings {
    let tolerance = Duration::from_secs(300);
    let mut auth = AuthSettings::default();
    match name {
        "tokens" => auth
            .tokens
            .push(Secret::new(String::from_utf8_lossy(TOKEN))),
        "signed" => {
            auth.hmac = Some(HmacSettings {
                secrets: vec![Secret::new(String::from_utf8_lossy(KEY))],
                header: "x-signature".to_owned(),
                prefix: "sha256=".to_owned(),
                encoding: SignatureEncoding::Hex,
                timestamp_header: None,
                tolerance,
            });
        }
        "standard" => {
            let secrets = vec![Secret::new(WHSEC)];
            auth.standard_webhooks = Some(StandardWebhooksSettings { secrets, tolerance });
        }
        _ => auth.none = true,
    }
    let proxies =
        ["10.0.0.0/8", "::1/128"].map(|network| network.parse().expect("it is a network"));
    SourceSettings {
        name: name.to_owned(),
        uri: format!("/webhooks/{name}"),
        prefix: format!("{name}."),
        rate_limit: None,
        auth,
        allow_from: Vec::new(),
        trusted_proxies: proxies.into(),
    }
}

/// Reads the input as the server would, and takes what it is through the stages of a webhook.
pub fn check(input: &[u8]) {
    let Some((request, wire)) = parsed(input) else {
        return;
    };
    let Some(request) = rebuilt(&request, &wire) else {
        return;
    };
    let mut outcome = None;
    let cost = allocation_counter::measure(|| {
        outcome = Some(CHECKS.with(|checks| checks.judge(&request, wire.clone())));
    });
    // A body grows by doubling up to its bound; the old and the new one are there at once.
    let most = 4 * (MAX_BODY + input.len()) as u64 + (1 << 20);
    assert!(
        cost.bytes_max <= most,
        "{} bytes for {}",
        cost.bytes_max,
        input.len()
    );
    match outcome.expect("it was judged") {
        Ok(let_in) => has_a_credential(&request, &wire, &let_in),
        Err(response) => is_a_problem(&request, &wire, *response),
    }
}

/// The head and as much of the body as there is; none if the server itself refuses it.
fn parsed(input: &[u8]) -> Option<(Request, Bytes)> {
    let mut codec = CONFIG.with(|config| Codec::new(config.clone()));
    let mut rest = BytesMut::from(input);
    let Ok(Some(Message::Item(request))) = codec.decode(&mut rest) else {
        return None;
    };
    let mut body = BytesMut::new();
    while let Ok(Some(Message::Chunk(Some(chunk)))) = codec.decode(&mut rest) {
        body.extend_from_slice(&chunk);
    }
    Some((request, body.freeze()))
}

/// The request as the handler sees it. With `x-sign` it is signed: by the key, or by that and a mistake.
fn rebuilt(request: &Request, wire: &[u8]) -> Option<HttpRequest> {
    let uri = request.uri().to_string();
    uri.parse::<Uri>().ok()?;
    let mut built = TestRequest::default()
        .method(request.method().clone())
        .uri(&uri)
        .version(request.version())
        .peer_addr(([10, 0, 0, 1], 1).into());
    for (name, value) in request.headers() {
        built = built.append_header((name.clone(), value.clone()));
    }
    let signing = request.headers().get("x-sign").map(HeaderValue::as_bytes);
    let mistake: &[u8] = if signing == Some(b"badly") { b"." } else { b"" };
    if signing.is_some() {
        let now = now().to_string();
        let parts = [b"msg_1.", now.as_bytes(), b".", wire, mistake];
        let standard = STANDARD.encode(made(&standard_key(), &parts));
        built = built
            .append_header((
                "x-signature",
                format!("sha256={}", hex(&made(KEY, &[wire, mistake]))),
            ))
            .append_header(("webhook-id", "msg_1"))
            .append_header(("webhook-timestamp", now))
            .append_header(("webhook-signature", format!("v1,{standard}")));
    }
    Some(built.to_http_request())
}

fn has_a_credential(request: &HttpRequest, wire: &[u8], let_in: &LetIn) {
    assert!(is_credible(request, wire, SOURCES[let_in.source]));
    assert_eq!(*request.method(), Method::POST);
    let parts: Vec<&str> = request.uri().path().splitn(4, '/').collect();
    assert_eq!(parts[..3], ["", "webhooks", SOURCES[let_in.source]]);
    let said = parts.get(3).filter(|kind| !kind.is_empty()).copied();
    assert_eq!(let_in.said.map(|kind| kind.name()), said);
    let no: [&[u8]; 4] = [b"0", b"false", b"no", b"off"];
    match &parameters(request, "dry_run")[..] {
        [] => assert!(!let_in.dry_run),
        [value] => assert_eq!(let_in.dry_run, !no.contains(&&*value.to_ascii_lowercase())),
        _ => panic!("it was let in with two"),
    }
    assert_eq!(
        let_in.webhook_id.is_some(),
        SOURCES[let_in.source] == "standard"
    );
    let body = let_in.body.as_ref();
    assert!(body.is_none_or(|body| body.len() <= MAX_BODY.max(wire.len())));
    if !request.headers().contains_key("content-encoding") {
        assert_eq!(body.map(|body| &body[..]), Some(wire));
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Problem {
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    instance: String,
}

fn is_a_problem(request: &HttpRequest, wire: &[u8], response: HttpResponse) {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.into_body().try_into_bytes().expect("it is whole");
    if body.is_empty() {
        let bare = [
            StatusCode::BAD_REQUEST,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ];
        assert!(bare.contains(&status), "{status} without a body");
        return;
    }
    let problem: Problem = serde_json::from_slice(&body).expect("a problem is JSON");
    assert_eq!(problem.status, status.as_u16());
    let slug = problem
        .r#type
        .strip_prefix("tag:minchat.io,2026:bridge:problem:");
    let slug = Slug::ALL
        .into_iter()
        .find(|known| slug == Some(known.name()));
    let slug = slug.expect("it is one of the table");
    assert_eq!(slug.status(), problem.status);
    assert_ne!(slug, Slug::Internal);
    assert!(
        !problem.title.is_empty() && (slug == Slug::UnknownSource || !problem.detail.is_empty())
    );
    let header = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let id = problem.instance.strip_prefix("urn:uuid:");
    assert_eq!(header("x-request-id"), id.map(str::as_bytes));
    assert_eq!(
        header("content-type"),
        Some(&b"application/problem+json"[..])
    );
    assert_eq!(
        slug == Slug::MethodNotAllowed,
        headers.contains_key("allow")
    );
    if slug == Slug::Unauthorized {
        let source = request.uri().path().split('/').nth(2).unwrap_or_default();
        assert!(
            !is_credible(request, wire, source),
            "it had a good credential"
        );
    }
}

/// Whether a request may get in, read by other means.
fn is_credible(request: &HttpRequest, wire: &[u8], source: &str) -> bool {
    let headers = request.headers();
    match source {
        "tokens" => {
            let in_headers: Vec<&HeaderValue> = headers.get_all("authorization").collect();
            let in_query = parameters(request, "token");
            let header = in_headers
                .first()
                .and_then(|value| presented(value.as_bytes()));
            let is_good = header.as_deref() == Some(TOKEN)
                || in_query.first().map(Vec::as_slice) == Some(TOKEN);
            is_good && in_headers.len() < 2 && in_query.len() < 2
        }
        "signed" => {
            let signed = format!("sha256={}", hex(&made(KEY, &[wire])));
            let presented = only(headers, "x-signature").map(str::trim);
            let digits = |text: &str| text.get(7..).map(str::to_ascii_lowercase);
            presented
                .is_some_and(|text| text.starts_with("sha256=") && digits(text) == digits(&signed))
        }
        "standard" => signed_by_the_standard(headers, wire),
        _ => true,
    }
}

fn signed_by_the_standard(headers: &HeaderMap, wire: &[u8]) -> bool {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let [Some(id), Some(at), Some(list)] = names.map(|name| only(headers, name)) else {
        return false;
    };
    let is_near = at.bytes().all(|byte| byte.is_ascii_digit())
        && at.parse::<u64>().is_ok_and(|at| at.abs_diff(now()) <= 300);
    let parts = [id.as_bytes(), b".", at.as_bytes(), b".", wire];
    let signature = format!("v1,{}", STANDARD.encode(made(&standard_key(), &parts)));
    is_near && crate::envelope::is_webhook_id(id) && list.split(' ').any(|one| one == signature)
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all: Vec<&HeaderValue> = headers.get_all(HeaderName::try_from(name).ok()?).collect();
    match all[..] {
        [value] => value.to_str().ok(),
        _ => None,
    }
}

/// What an `Authorization` header presents as a token.
fn presented(value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = value.splitn(2, |byte| *byte == b' ');
    let (scheme, rest) = (
        parts.next()?.to_ascii_lowercase(),
        parts.next()?.trim_ascii(),
    );
    match &scheme[..] {
        b"bearer" => Some(rest.to_vec()),
        b"basic" => {
            let pair = STANDARD.decode(rest).ok()?;
            pair.splitn(2, |byte| *byte == b':')
                .nth(1)
                .map(<[u8]>::to_vec)
        }
        _ => None,
    }
}

/// The values of all parameters of that name.
fn parameters(request: &HttpRequest, name: &str) -> Vec<Vec<u8>> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let query = request.uri().query().unwrap_or_default();
    let pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .filter(|(key, _)| decoded(key) == name.as_bytes())
        .map(|(_, value)| decoded(value))
        .collect()
}

fn made(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("every length is taken");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn standard_key() -> Vec<u8> {
    STANDARD
        .decode(&WHSEC["whsec_".len()..])
        .expect("it is base64")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("it is later than 1970").as_secs()
}
