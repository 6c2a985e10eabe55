//! How a topic's client is made, judged and replaced, and how its topic is found.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::Producer;

use super::super::client::Mode;
use super::super::errors;
use super::super::owned_client::OwnedClient;
use super::super::supervisor::{About, Answer, Question};
use super::{Connection, LOOK, TopicPublisher, takes_all};
use crate::publish::{Class, Failure, Publisher, Report};

/// How often the topic's limit is read again, so that one that was raised or lowered counts.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a client that holds events may be down. librdkafka 2.12 tries to connect 800 times a second then, and takes 0.9
/// of a core (2026-11-25); one that holds nothing rests between its attempts.
const BUSY_AND_DOWN: Duration = Duration::from_secs(5);
/// How long a client may not reach the brokers that it knows until it is made anew, since all of them may have been replaced:
/// more than a connection and a producer's number take with answers that come after 5 s each.
const REPLACE: Duration = Duration::from_secs(30);
/// How long a broker has to refuse no event until its topic has an ordered client again.
const CALM: Duration = Duration::from_secs(10);
/// How soon after it was made a client that gave up is replaced: where a right is missing, each gives up as soon as
/// it is connected.
const SHORTEST_LIFE: Duration = Duration::from_secs(2);
/// How long the reports of a client that gave up are waited for.
const REPORTS: Duration = Duration::from_secs(3);

impl TopicPublisher {
    /// Makes a client for the topic, with the settings of now.
    fn make_client(&self, mode: Mode) -> Result<OwnedClient, Failure> {
        let (settings, generation) = self.supervisor.settings();
        OwnedClient::new(
            &settings,
            generation,
            self.max_message,
            mode,
            self.wakeup.clone(),
        )
    }

    /// The client raised a fatal error. If that is because an event was refused, a tolerant client takes its place once all
    /// that it held is reported; otherwise the lane has to ask for another.
    pub(super) fn give_up(&mut self, now: Instant) {
        let Some(client) = &mut self.client else {
            return;
        };
        let Some((code, reason)) = client.client().fatal_error() else {
            return;
        };
        // What is already on its way is waited for, within [`REPORTS`].
        client.give_up_events(false);
        let is_old = now.saturating_duration_since(client.made_at) >= SHORTEST_LIFE;
        if client.was_refused() {
            if client.held() == 0 {
                self.tolerate(&reason);
            }
        } else if let Some(fatal) = client
            .fatal
            .as_mut()
            .filter(|fatal| is_old && !fatal.reported)
        {
            fatal.reported = true;
            let failure = errors::failure(Some(code), format!("{code}: {reason}"));
            if failure.class == Class::Operator {
                self.went_down(now, failure);
            }
            let fatal = errors::failure(Some(Code::Fatal), format!("{code}: {reason}"));
            self.reports.push(Report::Down(fatal));
        }
    }

    /// Puts a tolerant client in the place of one that was refused an event. The lane goes on with it at once.
    fn tolerate(&mut self, reason: &str) {
        match self.make_client(Mode::Tolerant) {
            Ok(client) => {
                tracing::debug!(topic = self.topic, reason, "the broker refused an event");
                self.client = Some(client);
                self.refused_at = Some(Instant::now());
                if !self.is_up() {
                    self.connection = Connection::Waiting(Instant::now());
                }
            }
            Err(failure) => {
                self.reports.push(Report::Down(failure));
                self.rebuild();
            }
        }
    }

    /// Prepares an ordered client once the broker refuses nothing any more, and changes over to it between two events.
    pub(super) fn return_to_order(&mut self, now: Instant) {
        let is_calm = self
            .refused_at
            .is_none_or(|at| now.saturating_duration_since(at) >= CALM);
        let tolerant = self.client.as_ref();
        let Some(tolerant) = tolerant.filter(|client| client.mode == Mode::Tolerant && is_calm)
        else {
            self.next = None;
            return;
        };
        let Some(next) = &mut self.next else {
            // If it can't be made, the tolerant one goes on.
            self.next = self.make_client(Mode::Ordered).ok();
            return;
        };
        next.note_events();
        if next.client().fatal_error().is_some() {
            self.next = None;
        } else if next.is_ready && tolerant.held() == 0 && self.is_up() {
            self.client = self.next.take();
        }
    }

    /// Replaces a client of no use, and asks what has to be known of the topic.
    pub(super) fn look(&mut self, now: Instant) {
        if now < self.look_at {
            return;
        }
        self.look_at = now + LOOK;
        if let Some(client) = self
            .client
            .as_ref()
            .filter(|client| self.replaces(client, now))
        {
            // A lane asks for another client once all is reported; if there is nothing to report, it need not know.
            match client.held() > 0 {
                true => client.give_up_events(true),
                false => self.rebuild(),
            }
        }
        if self.client.is_none() {
            match self.make_client(Mode::Ordered) {
                Ok(client) => self.client = Some(client),
                Err(failure) => return self.went_down(now, failure),
            }
        }
        if self.is_asking {
            return;
        }
        if !self.is_found {
            self.ask(About::Topic);
        } else if self.is_up() && now >= self.limit_at {
            self.ask(About::Limit);
        }
    }

    /// Whether another client would do better: than one that gave up and that its lane did not replace, one whose threads
    /// sleep, one that can't reach its brokers, and one with outdated settings that is not in use.
    fn replaces(&self, client: &OwnedClient, now: Instant) -> bool {
        let longer_than =
            |time: Duration| move |since: Instant| now.saturating_duration_since(since) >= time;
        let gave_up_at = client.fatal.as_ref().map(|fatal| fatal.at);
        if client.is_lost || gave_up_at.is_some_and(longer_than(REPORTS)) {
            return true;
        }
        let waits_since = self.waits_since();
        let waits_for = |time| waits_since.is_some_and(longer_than(time));
        !self.is_up() && client.is_silent(now)
            || waits_for(REPLACE)
            || self.is_down() && client.held() > 0 && waits_for(BUSY_AND_DOWN)
            || !self.is_up() && client.generation != self.supervisor.generation()
    }

    fn ask(&mut self, about: About) {
        self.is_asking = true;
        let (answers, wakeup) = (self.answers.0.clone(), self.wakeup.clone());
        self.supervisor.ask(Question {
            topic: self.topic.clone(),
            about,
            answer: Box::new(move |answer| {
                // An error means that the lane has ended.
                let _ = answers.send(answer);
                wakeup();
            }),
        });
    }

    pub(super) fn read_answers(&mut self, now: Instant) {
        let Ok(answer) = self.answers.1.try_recv() else {
            return;
        };
        self.is_asking = false;
        self.limit_at = now + LIMIT;
        match answer {
            // That the limit can't be read now is no trouble.
            Answer::Failed(_) if self.is_found => {}
            Answer::Failed(failure) => self.went_down(now, failure),
            Answer::Found { max_message } => {
                if max_message.is_some() || !self.is_found {
                    self.learn(max_message);
                }
                if !self.is_found {
                    self.found();
                }
            }
        }
    }

    /// The topic is there. A client whose batches are too large for it is replaced, before it is used.
    fn found(&mut self) {
        self.is_found = true;
        let client = self.client.as_ref();
        let is_too_large = client
            .zip(self.max_message)
            .is_some_and(|(client, max)| client.batch_size > max && client.held() == 0);
        if is_too_large && let Ok(client) = self.make_client(Mode::Ordered) {
            self.client = Some(client);
        }
        self.come_up_if_ready();
    }

    /// What the topic takes, if that is known. Said once, where it is less than the listener lets in.
    fn learn(&mut self, max_message: Option<usize>) {
        let is_news = std::mem::replace(&mut self.max_message, max_message) != max_message;
        let max_body = self.limits.max_body;
        let too_small = max_message.filter(|max| !takes_all(*max, max_body));
        if let Some(max_message_bytes) = too_small.filter(|_| is_news) {
            tracing::warn!(
                topic = self.topic,
                max_message_bytes,
                max_body_bytes = max_body,
                "http.max_body lets in more than this topic takes: what is too large for it goes to the dead letters"
            );
        }
    }
}
