use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use super::super::target::Target;
use super::super::trust::TrustArgs;
use super::payload;
use crate::minchat::Kind;

/// Post sample webhooks to a bridge.
///
/// Each sample is one of MinChat's own; where it has metadata, `minchat_bridge_sample` is set to
/// true in it, so that a consumer can tell it. Ends with a table of answers and latencies; Ctrl-C
/// ends early, with the table of what was posted until then.
///
/// Exits with 0 if every answer was a 2xx; with 69 if the bridge was not reached, or its certificate is
/// not trusted, or it answered with 408, 429 or a 5xx, and trying later may help; with 78 if any other
/// answer came, such as 401 or 404, and the URL or the token is wrong, or if there are no authorities to
/// trust, or no token in its file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to post, in turn; all of them if none is given.
    #[arg(value_name = "KIND", value_parser = kind_names())]
    kinds: Vec<String>,
    /// Where to post.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080/webhooks/minchat"
    )]
    pub(super) url: Target,
    #[command(flatten)]
    pub(super) trust: TrustArgs,
    /// The source's token, sent as `Authorization: Bearer`
    /// [default: the variable MINCHAT_BRIDGE_TOKEN, if it is set].
    #[arg(long, value_name = "T")]
    pub(super) token: Option<String>,
    /// A file with the token in its first line, in place of `--token`.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(super) token_file: Option<PathBuf>,
    /// How many to post; one of each kind if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How many to post a second; as fast as answers come if not given.
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// How many to have on the way at once, each over a connection of its own.
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) concurrency: u16,
    /// Have the bridge do everything but publishing, and show the envelope's attributes.
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl Args {
    pub(super) fn kinds(&self) -> Vec<Kind> {
        if self.kinds.is_empty() {
            return payload::kinds().collect();
        }
        let kinds = self.kinds.iter();
        kinds.filter_map(|name| Kind::from_url(name)).collect()
    }

    pub(super) fn posts(&self) -> u64 {
        self.count.unwrap_or(self.kinds().len() as u64)
    }
}

fn kind_names() -> PossibleValuesParser {
    PossibleValuesParser::new(payload::kinds().map(Kind::name))
}

fn rate(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("not a number above 0"),
    }
}
