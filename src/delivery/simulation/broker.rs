//! A broker, with a client that behaves as librdkafka's or as RabbitMQ's publisher does.

use std::collections::{HashSet, VecDeque};

use fastrand::Rng;

use super::{EVENTS_OF_A_KEY, KEYS, Which, which};
use crate::publish::{Class, Failure, Handover, PerKey, Reason, Report};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// Each partition in its order whatever fails: if one event fails for good, so does all that is in flight, and the
    /// client is of no use any more.
    Gapless,
    /// What takes a gapless client's place after it was refused an event: in any order, since one event of a key
    /// is on its way at a time, and whatever fails.
    Tolerant,
    /// In batches, each event of which is acknowledged or not by itself.
    Batches,
}

/// See the module.
pub(super) struct Broker {
    client: Client,
    /// Whether a tolerant client takes the place of a gapless one that was refused an event.
    changes_over: bool,
    is_up: bool,
    needs_rebuild: bool,
    always_well: bool,
    /// It takes nothing and says nothing.
    is_silent: bool,
    /// Events of a topic or a queue that takes nothing until an operator fixes it, which nobody does before the end.
    refused: Option<usize>,
    in_flight: VecDeque<Handover>,
    failed: Option<u16>,
    poison: HashSet<Which>,
    /// What the client reported and the lane has not heard yet.
    reports: VecDeque<Report>,
    /// A report that was heard and comes once more.
    late: Option<Report>,
    /// What arrived, duplicates too, in its order.
    pub(super) delivered: Vec<Which>,
    seen: HashSet<Which>,
    /// What arrived without the lane knowing: it may arrive once more.
    may_repeat: HashSet<Which>,
}

fn failure(class: Class, reason: Reason) -> Failure {
    Failure {
        class,
        reason,
        detail: "simulated".to_owned(),
    }
}

fn failed(handover: &Handover, class: Class, reason: Reason) -> Report {
    let Handover { seq, attempt, .. } = *handover;
    Report::Failed {
        seq,
        attempt,
        failure: failure(class, reason),
    }
}

fn confirmed(handover: &Handover) -> Report {
    let Handover { seq, attempt, .. } = *handover;
    Report::Confirmed { seq, attempt }
}

/// Events of different keys are on different partitions, except for two that share one.
fn partition(handover: &Handover) -> usize {
    which(&handover.event).0 / 2
}

impl Broker {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let poison = (0..rng.usize(..3)).map(|_| (rng.usize(..KEYS), rng.usize(..EVENTS_OF_A_KEY)));
        Broker {
            poison: poison.collect(),
            client: if rng.bool() {
                Client::Gapless
            } else {
                Client::Batches
            },
            changes_over: rng.bool(),
            is_up: false,
            needs_rebuild: false,
            always_well: false,
            is_silent: false,
            refused: (rng.u8(..8) == 0).then(|| rng.usize(..KEYS)),
            in_flight: VecDeque::new(),
            failed: None,
            reports: VecDeque::new(),
            late: None,
            delivered: Vec::new(),
            seen: HashSet::new(),
            may_repeat: HashSet::new(),
        }
    }

    pub(super) fn is_well_from_now_on(&mut self) {
        self.always_well = true;
        self.is_silent = false;
        self.refused = None;
    }

    pub(super) fn publish(&mut self, events: &[Handover]) {
        match self.needs_rebuild {
            true => {
                let events = events.iter();
                self.reports
                    .extend(events.map(|event| failed(event, Class::Rebuild, Reason::Fatal)));
            }
            false => self.in_flight.extend(events.iter().cloned()),
        }
        if self.client == Client::Tolerant {
            let mut keys = HashSet::new();
            let mut in_flight = self.in_flight.iter();
            assert!(
                in_flight.all(|handover| keys.insert(which(&handover.event).0)),
                "one event of a key at a time"
            );
        }
    }

    pub(super) fn per_key(&self) -> PerKey {
        match self.client {
            Client::Gapless => PerKey::Any,
            Client::Tolerant => PerKey::One,
            Client::Batches => PerKey::NoneBehindAnswered,
        }
    }

    pub(super) fn rebuild(&mut self) {
        self.in_flight.clear();
        self.reports.clear();
        if self.client == Client::Tolerant {
            self.client = Client::Gapless;
        }
        self.needs_rebuild = false;
        self.is_up = false;
    }

    /// The bridge ended: what its client held arrives or not, in order up to some event.
    pub(super) fn lose_the_client(&mut self, rng: &mut Rng) {
        if self.is_up {
            self.deliver_some(rng);
        }
        self.rebuild();
        (self.failed, self.late) = (None, None);
        // What is still in the spool may be published once more, and is told by `may_repeat`.
        self.may_repeat.clear();
    }

    /// A new process has this event from an earlier one.
    pub(super) fn may_repeat(&mut self, which: Which) {
        self.may_repeat.insert(which);
    }

    /// Nothing was handed over that is not reported on, and all reports were heard.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.reports.is_empty()
    }

    /// Some of the reports that were made, in their order. One of them may come once more, and much later.
    pub(super) fn take_reports(&mut self, rng: &mut Rng) -> Vec<Report> {
        let upto = rng.usize(..=self.reports.len());
        let mut reports: Vec<_> = self.reports.drain(..upto).collect();
        match self.late.take_if(|_| rng.u8(..10) == 0) {
            Some(late) => reports.push(late),
            None => {
                let about_events =
                    |report: &&Report| !matches!(report, Report::Up | Report::Down(_));
                let some = rng.choice(&reports).filter(about_events);
                self.late = self.late.take().or(some.cloned());
            }
        }
        reports
    }

    pub(super) fn take_all_reports(&mut self) -> Vec<Report> {
        self.reports.drain(..).collect()
    }

    pub(super) fn fall_ill(&mut self, rng: &mut Rng) {
        if !self.is_up {
            return;
        }
        match (rng.u8(..4), self.client) {
            (0, _) => {
                self.is_up = false;
                let down = Report::Down(failure(Class::Retry, Reason::Disconnected));
                self.reports.push_back(down);
                if self.client == Client::Batches {
                    self.deliver_some(rng);
                    self.fail_all(Class::Retry, Reason::Disconnected);
                }
            }
            (1, _) => self.is_silent = true,
            (_, Client::Tolerant) => {
                self.deliver_some(rng);
                self.fail_all(Class::Retry, Reason::NotLeader);
            }
            (2, Client::Gapless) => {
                self.deliver_some(rng);
                self.needs_rebuild |= !self.in_flight.is_empty();
                self.fail_all(Class::Rebuild, Reason::Fatal);
            }
            (_, Client::Gapless) => {
                self.needs_rebuild |= !self.in_flight.is_empty();
                self.fail_all(Class::Operator, Reason::UnknownDestination);
            }
            (_, Client::Batches) => self.batch(rng, true),
        }
    }

    fn fail_all(&mut self, class: Class, reason: Reason) {
        for handover in std::mem::take(&mut self.in_flight) {
            self.failed = Some(handover.attempt);
            let class = if self.needs_rebuild {
                Class::Rebuild
            } else {
                class
            };
            self.reports.push_back(failed(&handover, class, reason));
        }
    }

    pub(super) fn recover(&mut self) {
        self.is_silent = false;
        if !self.is_up && !self.needs_rebuild {
            self.is_up = true;
            self.reports.push_back(Report::Up);
        }
    }

    /// Takes some of what is in flight.
    pub(super) fn work(&mut self, rng: &mut Rng) {
        if !self.is_up || self.needs_rebuild || self.is_silent {
            return;
        }
        match self.client {
            Client::Batches => self.batch(rng, false),
            Client::Tolerant => self.work_tolerantly(rng),
            Client::Gapless => {
                for _ in 0..rng.usize(1..6) {
                    self.work_in_order(rng);
                }
            }
        }
    }

    /// Takes the first event of some partition.
    fn work_in_order(&mut self, rng: &mut Rng) {
        let Some(some) = rng.choice(&self.in_flight).map(partition) else {
            return;
        };
        let mut in_flight = self.in_flight.iter();
        let first = in_flight.position(|handover| partition(handover) == some);
        let handover = self.in_flight.remove(first.expect("one was chosen"));
        let handover = handover.expect("it was just seen");
        if self.poison.contains(&which(&handover.event)) {
            self.refuse(&handover);
            return;
        }
        self.deliver(&handover);
        self.reports.push_back(confirmed(&handover));
    }

    /// Takes some of what is in flight, in any order. A refused event takes others down with it.
    fn work_tolerantly(&mut self, rng: &mut Rng) {
        if self.is_idle() && rng.u8(..4) == 0 {
            self.client = Client::Gapless;
            return;
        }
        rng.shuffle(self.in_flight.make_contiguous());
        let some = rng.usize(..=self.in_flight.len());
        let batch: Vec<_> = self.in_flight.drain(..some).collect();
        let is_poison = |handover: &Handover| self.poison.contains(&which(&handover.event));
        let spoils = batch.iter().any(is_poison) && rng.bool();
        for handover in &batch {
            let is_poison = self.poison.contains(&which(&handover.event));
            let report = match (is_poison, spoils) {
                (true, _) => failed(handover, Class::DeadLetter, Reason::Rejected),
                (false, true) => failed(handover, Class::Requeue, Reason::Rejected),
                (false, false) => {
                    self.deliver(handover);
                    confirmed(handover)
                }
            };
            self.reports.push_back(report);
        }
    }

    /// The event's own fault. librdkafka leaves no gap behind it: it is of no use any more.
    fn refuse(&mut self, handover: &Handover) {
        let blamed = failed(handover, Class::DeadLetter, Reason::TooLarge);
        if self.changes_over {
            self.reports.push_back(blamed);
            let others = std::mem::take(&mut self.in_flight).into_iter();
            self.reports
                .extend(others.map(|handover| failed(&handover, Class::Requeue, Reason::Rejected)));
            self.client = Client::Tolerant;
            return;
        }
        let fatal = Report::Down(failure(Class::Rebuild, Reason::Fatal));
        let both = if self.poison.len() > 1 {
            [blamed, fatal]
        } else {
            [fatal, blamed]
        };
        self.reports.extend(both);
        self.needs_rebuild = true;
        self.fail_all(Class::Rebuild, Reason::Fatal);
    }

    /// As `publish::amqp` forms its batches: what was handed over behind a failure fails too.
    fn next_batch(&mut self, most: usize) -> Vec<Handover> {
        let (behind, live): (VecDeque<_>, _) = std::mem::take(&mut self.in_flight)
            .into_iter()
            .partition(|handover| Some(handover.attempt) == self.failed);
        self.in_flight = live;
        let behind = behind.iter();
        self.reports
            .extend(behind.map(|handover| failed(handover, Class::Retry, Reason::Other)));
        let count = most.min(self.in_flight.len());
        self.in_flight.drain(..count).collect()
    }

    /// Some of what the client has sent arrived, in each partition up to some event, and nobody will hear of it.
    fn deliver_some(&mut self, rng: &mut Rng) {
        let sent: Vec<_> = match self.client {
            Client::Gapless | Client::Tolerant => self.in_flight.iter().cloned().collect(),
            Client::Batches => {
                let sent = self.next_batch(8);
                for handover in sent.iter().rev() {
                    self.in_flight.push_front(handover.clone());
                }
                sent
            }
        };
        let arrive = [rng.usize(..=sent.len()), rng.usize(..=sent.len())];
        let mut ended = [false; 2];
        for (nth, handover) in sent.iter().enumerate() {
            let partition = partition(handover);
            let is_poison = self.poison.contains(&which(&handover.event));
            ended[partition] |= nth >= arrive[partition];
            ended[partition] |= is_poison && self.client == Client::Gapless;
            if !ended[partition] {
                self.deliver(handover);
                self.may_repeat.insert(which(&handover.event));
            }
        }
    }

    fn batch(&mut self, rng: &mut Rng, is_ill: bool) {
        let most = rng.usize(1..8);
        let mut batch = self.next_batch(most);
        // The broker acknowledges the events of a batch in any order.
        rng.shuffle(&mut batch);
        for handover in batch {
            let which = which(&handover.event);
            let is_ill = is_ill && !self.always_well;
            let report = if self.poison.contains(&which) {
                failed(&handover, Class::DeadLetter, Reason::TooLarge)
            } else if is_ill && rng.bool() || self.refused == Some(which.0) {
                failed(&handover, Class::Retry, Reason::Nack)
            } else {
                self.deliver(&handover);
                match is_ill && rng.bool() {
                    // The confirm is lost, and the client gives up waiting for it.
                    true => {
                        self.may_repeat.insert(which);
                        failed(&handover, Class::Retry, Reason::Timeout)
                    }
                    false => confirmed(&handover),
                }
            };
            if let Report::Failed { attempt, .. } = report {
                self.failed = Some(attempt);
            }
            self.reports.push_back(report);
        }
    }

    fn deliver(&mut self, handover: &Handover) {
        let which = which(&handover.event);
        if self.poison.contains(&which) {
            return;
        }
        let is_new = self.seen.insert(which);
        assert!(
            is_new || self.may_repeat.remove(&which),
            "{which:?} arrives twice for no reason"
        );
        self.delivered.push(which);
    }
}
