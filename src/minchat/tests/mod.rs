//! The contract's two tables, rule by rule.

mod drift;
mod grammar;
mod kinds;
mod normalization;
mod ordering_key;
mod samples;

use super::{Drift, Kind, Malformed, Payload, read};

fn payload(json: &str) -> Payload<'_> {
    read(json.as_bytes(), None).expect("a payload")
}

fn refused(body: impl AsRef<[u8]>) -> Malformed {
    read(body.as_ref(), None).expect_err("malformed")
}

fn data(json: &str) -> String {
    let payload = payload(json);
    let mut out = b"before".to_vec();
    payload.write_data(&mut out);
    let data = out.strip_prefix(b"before").expect("appended");
    assert_eq!(payload.data_len(), data.len());
    assert_eq!(payload.is_verbatim(), data == json.as_bytes());
    String::from_utf8(data.to_vec()).expect("UTF-8")
}

fn drift(json: &str) -> Vec<Drift> {
    payload(json).drift().iter().collect()
}

fn kind(json: &str) -> Kind {
    payload(json).kind()
}
