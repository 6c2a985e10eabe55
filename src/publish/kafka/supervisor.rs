//! Answers what a lane has to know of its topic, by messages: one thread for all topics of the cluster, which waits for
//! the brokers so that no lane has to.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::settings::Settings;
use super::topics::Topics;
use crate::publish::Failure;

/// How often the thread's client is read while nobody asks.
const READ: Duration = Duration::from_secs(5);

/// The lanes' end of the thread, and the settings of their clients. The thread ends with the last of them.
#[derive(Clone)]
pub(super) struct Supervisor {
    questions: Sender<Question>,
    shared: Arc<Shared>,
}

struct Shared {
    current: Mutex<Current>,
    held: AtomicI64,
    on_queue: Arc<dyn Fn(u64) + Send + Sync>,
}

struct Current {
    settings: Settings,
    /// Counts the changes of the settings.
    generation: u64,
    /// What the files of the settings held when they were last taken.
    files: u64,
}

/// What a lane asks.
pub(super) struct Question {
    pub(super) topic: String,
    pub(super) about: About,
    /// Takes the answer, on the supervisor's thread.
    pub(super) answer: Box<dyn FnOnce(Answer) + Send>,
}

/// What a question is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Whether the topic is there; it is created if it is missing and the configuration says so.
    Topic,
    /// What the topic takes by now.
    Limit,
}

/// What was found out.
pub(super) enum Answer {
    /// The topic is there, with its `max.message.bytes`, if that can be read.
    Found { max_message: Option<usize> },
    /// Why it is not, or why nobody knows.
    Failed(Failure),
}

impl Supervisor {
    /// Starts the thread. `on_queue` is told how many events the clients of all topics hold together.
    pub(super) fn start(
        settings: Settings,
        runtime: Handle,
        on_queue: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            current: Mutex::new(Current {
                files: settings.fingerprint_of_files(),
                settings,
                generation: 0,
            }),
            held: AtomicI64::new(0),
            on_queue,
        });
        let (questions, asked) = channel();
        let supervisor = Supervisor {
            questions,
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new().name("kafka-topics".to_owned());
        thread.spawn(move || answer_all(&asked, &shared, &runtime))?;
        Ok(supervisor)
    }

    /// Takes the login and the certificates of other settings, if they differ. A client that works is left alone.
    pub(super) fn reload(&self, settings: Settings) {
        let files = settings.fingerprint_of_files();
        let mut current = self.shared.current();
        if current.settings.take_credentials(settings) | (current.files != files) {
            current.files = files;
            current.generation += 1;
        }
    }

    /// The settings of now, and their generation.
    pub(super) fn settings(&self) -> (Settings, u64) {
        self.shared.settings()
    }

    /// Counts the changes of the settings.
    pub(super) fn generation(&self) -> u64 {
        self.shared.current().generation
    }

    pub(super) fn ask(&self, question: Question) {
        let asked = self.questions.send(question);
        asked.expect("the thread answers for as long as anybody can ask");
    }

    /// The client of one topic holds so many events more than before.
    pub(super) fn holds_more(&self, events: i64) {
        let held = self.shared.held.fetch_add(events, Ordering::Relaxed) + events;
        (self.shared.on_queue)(u64::try_from(held).unwrap_or_default());
    }
}

impl Shared {
    fn settings(&self) -> (Settings, u64) {
        let current = self.current();
        (current.settings.clone(), current.generation)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer_all(asked: &Receiver<Question>, shared: &Shared, runtime: &Handle) {
    let (settings, mut generation) = shared.settings();
    let mut topics = Topics::new(settings, runtime.clone());
    loop {
        let first = match asked.recv_timeout(READ) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => {
                topics.note_events();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let (settings, now) = shared.settings();
        if now != generation {
            generation = now;
            topics = Topics::new(settings, runtime.clone());
        }
        // Without a broker no topic can be asked about: whoever waits gets the same answer.
        let mut away: Option<Failure> = None;
        let waiting: Vec<_> = std::iter::once(first).chain(asked.try_iter()).collect();
        for question in waiting {
            let answer = match &away {
                Some(failure) => Answer::Failed(failure.clone()),
                None => answer(&mut topics, &question),
            };
            if let Answer::Failed(failure) = &answer
                && failure.reason.is_of_the_whole_broker()
            {
                away = Some(failure.clone());
            }
            (question.answer)(answer);
        }
    }
}

fn answer(topics: &mut Topics, question: &Question) -> Answer {
    let topic = &question.topic;
    if question.about == About::Topic
        && let Err(failure) = topics.find_or_create(topic)
    {
        return Answer::Failed(failure);
    }
    let max_message = topics.max_message(topic);
    tracing::debug!(topic, max_message, "found");
    Answer::Found { max_message }
}
