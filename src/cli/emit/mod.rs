//! `minchat-bridge emit`: posts sample webhooks, and tells how they were answered.

mod answer;
mod arguments;
mod client;
mod pace;
mod payload;
mod summary;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use arguments::Args;

use super::trust::TrustError;
use super::{exit, output};
use answer::Posted;
use client::Client;
use pace::{Pace, Stop};
use payload::Payload;
use summary::{Summary, Verdict};

/// Why nothing, or not all, was posted or shown.
#[derive(Debug, thiserror::Error)]
enum EmitError {
    #[error("cannot read the token's file {file}")]
    TokenFile { file: String, source: io::Error },
    #[error("the token's file {file} {why}")]
    NoTokenInFile { file: String, why: &'static str },
    #[error("a token is printable ASCII")]
    Token,
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What was posted came to this verdict all the same.
    #[error("cannot write to stdout")]
    Output { source: io::Error, verdict: Verdict },
    #[error("cannot start a thread for each of --concurrency")]
    Thread(#[source] io::Error),
}

/// Runs the command.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let stop = Arc::new(Stop::default());
    Stop::on_interrupt(&stop);
    let outcome = emit(args, &stop, progress_bar(args.posts()), &mut io::stdout());
    let of_verdict = |verdict| match verdict {
        Verdict::Good => ExitCode::SUCCESS,
        Verdict::Unavailable => ExitCode::from(exit::UNAVAILABLE),
        Verdict::Refused => ExitCode::from(exit::CONFIGURATION),
    };
    match outcome {
        Ok(verdict) => of_verdict(verdict),
        // A reader that has enough, such as `head`, is no failure, and hides none.
        Err(EmitError::Output { source, verdict })
            if verdict != Verdict::Good || source.kind() == io::ErrorKind::BrokenPipe =>
        {
            output::printed(Err(source));
            of_verdict(verdict)
        }
        Err(error) => {
            let source = std::error::Error::source(&error);
            let source = source.map_or_else(String::new, |source| format!(": {source}"));
            note!("minchat-bridge emit: {error}{source}");
            ExitCode::from(match error {
                EmitError::Token => exit::USAGE,
                EmitError::Trust(_) | EmitError::NoTokenInFile { .. } => exit::CONFIGURATION,
                EmitError::TokenFile { .. } | EmitError::Output { .. } | EmitError::Thread(_) => {
                    exit::IO
                }
            })
        }
    }
}

/// Posts, shows each answer of a dry run, and ends with the summary.
fn emit(
    args: &Args,
    stop: &Stop,
    progress: ProgressBar,
    out: &mut impl Write,
) -> Result<Verdict, EmitError> {
    let posts = Posts {
        client: Client::new(args)?,
        payloads: payload::of_kinds(&args.kinds()),
        pace: Pace::new(args.rate),
        count: args.posts(),
        threads: args.concurrency,
    };
    let mut summary = Summary::default();
    let mut shown = Ok(());
    let took = posts.each(stop, |posted| {
        summary.add(&posted);
        progress.inc(1);
        if args.dry_run && shown.is_ok() {
            shown = progress.suspend(|| posted.show(out));
            if shown.is_err() {
                stop.stop();
            }
        }
    });
    progress.finish_and_clear();
    let took = took.map_err(EmitError::Thread)?;
    let verdict = summary.verdict();
    let written = shown.and_then(|()| summary.write(out, &args.url, args.posts(), took));
    match written {
        Ok(()) => Ok(verdict),
        Err(source) => Err(EmitError::Output { source, verdict }),
    }
}

/// What is to be posted, and how.
struct Posts {
    client: Client,
    payloads: Vec<Payload>,
    pace: Pace,
    count: u64,
    threads: u16,
}

impl Posts {
    /// Posts all, until told to stop, and returns how long it took.
    ///
    /// # Errors
    /// When a thread can't be started. The others end after the post that they are at.
    fn each(&self, stop: &Stop, mut act: impl FnMut(Posted)) -> io::Result<Duration> {
        let start = Instant::now();
        let next = AtomicU64::new(0);
        let started = thread::scope(|scope| {
            // Room for a few each, so that a slow terminal holds up no measurement.
            let (sender, answers) = mpsc::sync_channel(1024);
            for _ in 0..self.count.min(self.threads.into()) {
                let sender = sender.clone();
                let next = &next;
                thread::Builder::new()
                    .name("emit".to_owned())
                    .spawn_scoped(scope, move || self.post(start, next, stop, &sender))
                    .inspect_err(|_| stop.stop())?;
            }
            drop(sender);
            answers.into_iter().for_each(&mut act);
            Ok(())
        });
        started.map(|()| start.elapsed())
    }

    /// What one thread does, over one connection of its own.
    fn post(&self, start: Instant, next: &AtomicU64, stop: &Stop, answers: &SyncSender<Posted>) {
        let connection = self.client.connection();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count || stop.wait_until(start, self.pace.due(number)) {
                return;
            }
            let payload = &self.payloads[number as usize % self.payloads.len()];
            if answers.send(connection.post(payload)).is_err() {
                return;
            }
        }
    }
}

/// On a terminal only: a log has no use for it.
fn progress_bar(posts: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(posts), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{bar:40} {pos}/{len}  {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
