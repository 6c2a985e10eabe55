//! Whether a value is of its row's kind, and how it is shown.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use config::{Value, ValueKind};

use super::shown::{quoted, yaml_list, yaml_text};
use super::table::Kind;
use super::{amqp_uri, networks, secrets, unknown};
use crate::regular_file;
use crate::units::{self, UnitError};

/// A value that holds.
#[derive(Debug)]
pub(super) struct Checked {
    /// As the rooms' settings read it.
    pub typed: ValueKind,
    /// As YAML, secrets redacted.
    pub shown: String,
}

/// A value that does not, and what would. Never the value of a secret.
#[derive(Debug)]
pub(super) struct Wrong {
    pub wrong: String,
    pub right: String,
}

impl Kind {
    /// Checks a value that was given, or a default.
    pub fn check(&self, value: &ValueKind) -> Result<Checked, Wrong> {
        match (self, value) {
            (Self::Secrets(rule), ValueKind::Array(items)) => secrets::list(rule, &texts(items)?),
            (Self::Secrets(rule), _) => Err(wrong(
                "it is not a list",
                format!("give a list of {}s, or the file that holds them", rule.name),
            )),
            (Self::List(_) | Self::Networks | Self::Uris, ValueKind::Array(items)) => {
                self.check_list(&texts(items)?)
            }
            (Self::List(_) | Self::Networks | Self::Uris, ValueKind::String(text)) => {
                self.check_list(&text.split(',').map(str::trim).collect::<Vec<_>>())
            }
            (Self::Uri, ValueKind::String(text)) => check_uri(text),
            (_, ValueKind::String(text)) => self.check_text(text),
            (Self::List(_) | Self::Networks | Self::Uris, _) => {
                Err(wrong("it is a section", "give a list"))
            }
            (_, ValueKind::Array(_)) => Err(wrong("it is a list", "give one value")),
            (_, _) => Err(wrong("it is a section", "give one value")),
        }
    }

    /// A value that the rooms' settings can read, in the place of one that was refused.
    pub fn stand_in(&self) -> ValueKind {
        let text = || ValueKind::String("x".to_owned());
        match self {
            Self::List(_) | Self::Networks | Self::Uri | Self::Uris | Self::Secrets(_) => {
                ValueKind::Array(vec![Value::new(None, text())])
            }
            Self::Integer(least, _) => ValueKind::I64(*least),
            _ => text(),
        }
    }

    fn check_text(&self, text: &str) -> Result<Checked, Wrong> {
        let typed = match self {
            Self::Bool | Self::Switch => ValueKind::Boolean(parse_bool(text)?),
            Self::Integer(least, most) => ValueKind::I64(parse_integer(text, *least, *most)?),
            Self::Status(known) => ValueKind::I64(parse_status(text, known)?),
            Self::Secret => return secrets::one(text),
            _ => {
                self.check_string(text)?;
                ValueKind::String(text.to_owned())
            }
        };
        Ok(Checked {
            typed,
            shown: yaml_text(text),
        })
    }

    fn check_string(&self, text: &str) -> Result<(), Wrong> {
        match self {
            Self::Size(least, most) => check_size(text, least, most),
            Self::Duration(least, most) => check_duration(text, least, most),
            Self::Percent => units::parse_percent(text).map(drop).map_err(|_| {
                wrong(
                    format!("{} is not a share", quoted(text)),
                    "give a whole share, such as 5%",
                )
            }),
            Self::Address => check_address(text),
            Self::Choice(known) => check_choice(text, known),
            Self::Text(rule) if (rule.holds)(text) => Ok(()),
            Self::Text(rule) => Err(wrong(format!("{} will not do", quoted(text)), rule.right)),
            Self::Dir if text.is_empty() => Err(wrong("it is empty", "name a directory")),
            Self::File => check_file(text),
            _ => Ok(()),
        }
    }

    fn check_list(&self, items: &[&str]) -> Result<Checked, Wrong> {
        if items.is_empty() || items == [""] {
            return Err(wrong("it is empty", "give at least one"));
        }
        let mut shown = Vec::new();
        for item in items {
            match self {
                Self::Uris => shown.push(amqp_uri::parse(item).map_err(not_a_uri)?.shown),
                Self::Networks => {
                    networks::check(item)?;
                    shown.push((*item).to_owned());
                }
                Self::List(rule) if !(rule.holds)(item) => {
                    return Err(wrong(format!("{} will not do", quoted(item)), rule.right));
                }
                _ => shown.push((*item).to_owned()),
            }
        }
        let typed = items
            .iter()
            .map(|item| Value::new(None, *item))
            .collect::<Vec<_>>();
        Ok(Checked {
            typed: ValueKind::Array(typed),
            shown: yaml_list(&shown),
        })
    }
}

pub(super) fn wrong(wrong: impl Into<String>, right: impl Into<String>) -> Wrong {
    Wrong {
        wrong: wrong.into(),
        right: right.into(),
    }
}

/// One URI is read as a list of one.
fn check_uri(text: &str) -> Result<Checked, Wrong> {
    let uri = amqp_uri::parse(text).map_err(not_a_uri)?;
    let typed = ValueKind::Array(vec![Value::new(None, text)]);
    Ok(Checked {
        typed,
        shown: yaml_text(&uri.shown),
    })
}

fn not_a_uri(what: &str) -> Wrong {
    wrong(what, "give amqp[s]://[user[:password]@]host[:port][/vhost]")
}

fn texts(items: &[Value]) -> Result<Vec<&str>, Wrong> {
    let text = |item: &'_ Value| matches!(item.kind, ValueKind::String(_));
    if !items.iter().all(text) {
        return Err(wrong(
            "something in the list is not a text",
            "give a list of texts",
        ));
    }
    let texts = items.iter().filter_map(|item| match &item.kind {
        ValueKind::String(text) => Some(text.as_str()),
        _ => None,
    });
    Ok(texts.collect())
}

fn parse_bool(text: &str) -> Result<bool, Wrong> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err(wrong(
            format!("{} is neither true nor false", quoted(text)),
            "give true or false",
        )),
    }
}

fn parse_integer(text: &str, least: i64, most: i64) -> Result<i64, Wrong> {
    let range = format!("give a whole number from {least} to {most}");
    let digits = !text.is_empty()
        && text
            .trim_start_matches('-')
            .bytes()
            .all(|byte| byte.is_ascii_digit());
    match text.parse::<i64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(_) => Err(wrong(format!("{text} is out of range"), range)),
        Err(_) if digits => Err(wrong(format!("{} is out of range", quoted(text)), range)),
        Err(_) => Err(wrong(
            format!("{} is not a whole number", quoted(text)),
            range,
        )),
    }
}

fn parse_status(text: &str, known: &[i64]) -> Result<i64, Wrong> {
    let found = known.iter().find(|status| status.to_string() == text);
    let list = known
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    found.copied().ok_or_else(|| {
        wrong(
            format!("{} is not one of the statuses", quoted(text)),
            format!("give one of {list}"),
        )
    })
}

fn check_size(text: &str, least: &str, most: &str) -> Result<(), Wrong> {
    let example = format!(
        "give a size from {least} to {most} in KiB, MiB or GiB (powers of 1024) or plain bytes"
    );
    let size = units::parse_size(text).map_err(|error| unit(text, "a size", error, &example))?;
    in_range(size, units::parse_size, least, most)
        .then_some(())
        .ok_or_else(|| wrong(format!("{text} is out of range"), example))
}

fn check_duration(text: &str, least: &str, most: &str) -> Result<(), Wrong> {
    let example = format!("give a duration from {least} to {most} in ms, s, m or h, such as 250ms");
    let duration =
        units::parse_duration(text).map_err(|error| unit(text, "a duration", error, &example))?;
    let holds = in_range::<Duration>(duration, units::parse_duration, least, most);
    holds
        .then_some(())
        .ok_or_else(|| wrong(format!("{text} is out of range"), example))
}

/// The ends of a range are written in the table as they would be in a file.
fn in_range<T: PartialOrd>(
    value: T,
    parse: fn(&str) -> Result<T, UnitError>,
    least: &str,
    most: &str,
) -> bool {
    parse(least).is_ok_and(|least| least <= value) && parse(most).is_ok_and(|most| value <= most)
}

fn unit(text: &str, what: &str, error: UnitError, right: &str) -> Wrong {
    wrong(format!("{} is not {what}: {error}", quoted(text)), right)
}

fn check_address(text: &str) -> Result<(), Wrong> {
    if text.parse::<SocketAddr>().is_ok() {
        return Ok(());
    }
    let right = match text.split_once(':') {
        Some(("" | "*", port)) => format!("give an IP address too, such as 0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("give an IP address, such as 127.0.0.1:{port}"),
        _ => "give an IP address and a port, such as 127.0.0.1:8080".to_owned(),
    };
    Err(wrong(
        format!("{} is not an address with a port", quoted(text)),
        right,
    ))
}

fn check_choice(text: &str, choices: &[&str]) -> Result<(), Wrong> {
    if choices.contains(&text) {
        return Ok(());
    }
    let right = format!("give {}", choices.join(" or "));
    let lower = text.to_ascii_lowercase();
    let meant = choices
        .iter()
        .find(|known| known.to_ascii_lowercase() == lower)
        .copied();
    let meant = meant.or_else(|| unknown::nearest(text, choices.iter().copied()));
    let hint = meant
        .map(|meant| format!(" (did you mean {meant}?)"))
        .unwrap_or_default();
    Err(wrong(
        format!("{} is not known", quoted(text)),
        format!("{right}{hint}"),
    ))
}

fn check_file(text: &str) -> Result<(), Wrong> {
    let right = "name a file that the bridge may read";
    regular_file::open(Path::new(text))
        .map(drop)
        .map_err(|error| wrong(format!("{} can't be read: {error}", quoted(text)), right))
}
