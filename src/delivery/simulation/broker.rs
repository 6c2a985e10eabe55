//! A broker, with a client that behaves as librdkafka's or as RabbitMQ's publisher does.

use std::collections::{HashSet, VecDeque};

use fastrand::Rng;

use super::{EVENTS_OF_A_KEY, KEYS, Which, which};
use crate::publish::{Class, Failure, Handover, PerKey, Reason, Report};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// In order whatever fails: if one fails for good, so do all that are behind it, and the client
    /// is of no use any more.
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
    in_flight: VecDeque<Handover>,
    failed: Option<u16>,
    poison: HashSet<Which>,
    /// What arrived, duplicates too, in its order.
    pub(super) delivered: Vec<Which>,
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
            in_flight: VecDeque::new(),
            failed: None,
            delivered: Vec::new(),
        }
    }

    pub(super) fn is_well_from_now_on(&mut self) {
        self.always_well = true;
    }

    pub(super) fn publish(&mut self, events: &[Handover], reports: &mut VecDeque<Report>) {
        match self.needs_rebuild {
            true => reports.extend(
                events
                    .iter()
                    .map(|event| failed(event, Class::Rebuild, Reason::Fatal)),
            ),
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
        if self.client == Client::Tolerant {
            self.client = Client::Gapless;
        }
        self.needs_rebuild = false;
        self.is_up = false;
    }

    /// The bridge ended: what its client held arrives or not, in order up to some event.
    pub(super) fn lose_the_client(&mut self, rng: &mut Rng) {
        if self.is_up {
            self.deliver_some(rng, &mut VecDeque::new());
        }
        self.rebuild();
        self.failed = None;
    }

    pub(super) fn fall_ill(&mut self, rng: &mut Rng, reports: &mut VecDeque<Report>) {
        if !self.is_up {
            return;
        }
        match (rng.u8(..3), self.client) {
            (0, _) => {
                self.is_up = false;
                reports.push_back(Report::Down(failure(Class::Retry, Reason::Disconnected)));
                if self.client == Client::Batches {
                    self.deliver_some(rng, reports);
                    self.fail_all(Class::Retry, Reason::Disconnected, reports);
                }
            }
            (_, Client::Tolerant) => {
                self.deliver_some(rng, reports);
                self.fail_all(Class::Retry, Reason::NotLeader, reports);
            }
            (1, Client::Gapless) => {
                self.needs_rebuild |= !self.in_flight.is_empty();
                self.fail_all(Class::Rebuild, Reason::Fatal, reports);
            }
            (_, Client::Gapless) => {
                self.needs_rebuild |= !self.in_flight.is_empty();
                self.fail_all(Class::Operator, Reason::UnknownDestination, reports);
            }
            (_, Client::Batches) => self.batch(rng, true, reports),
        }
    }

    fn fail_all(&mut self, class: Class, reason: Reason, reports: &mut VecDeque<Report>) {
        for handover in std::mem::take(&mut self.in_flight) {
            self.failed = Some(handover.attempt);
            let class = if self.needs_rebuild {
                Class::Rebuild
            } else {
                class
            };
            reports.push_back(failed(&handover, class, reason));
        }
    }

    pub(super) fn recover(&mut self, reports: &mut VecDeque<Report>) {
        if !self.is_up && !self.needs_rebuild {
            self.is_up = true;
            reports.push_back(Report::Up);
        }
    }

    /// Takes some of what is in flight.
    pub(super) fn work(&mut self, rng: &mut Rng, reports: &mut VecDeque<Report>) {
        if !self.is_up || self.needs_rebuild {
            return;
        }
        match self.client {
            Client::Batches => self.batch(rng, false, reports),
            Client::Tolerant => self.work_tolerantly(rng, reports),
            Client::Gapless => {
                let some = rng.usize(..6);
                for _ in 0..some {
                    let Some(handover) = self.in_flight.pop_front() else {
                        return;
                    };
                    if self.poison.contains(&which(&handover.event)) {
                        self.refuse(&handover, reports);
                        return;
                    }
                    self.deliver(&handover);
                    reports.push_back(Report::Confirmed {
                        seq: handover.seq,
                        attempt: handover.attempt,
                    });
                }
            }
        }
    }

    /// Takes some of what is in flight, in any order. A refused event takes others down with it.
    fn work_tolerantly(&mut self, rng: &mut Rng, reports: &mut VecDeque<Report>) {
        if self.in_flight.is_empty() && reports.is_empty() && rng.u8(..4) == 0 {
            self.client = Client::Gapless;
            return;
        }
        rng.shuffle(self.in_flight.make_contiguous());
        let some = rng.usize(..=self.in_flight.len());
        let batch: Vec<_> = self.in_flight.drain(..some).collect();
        let is_poison = |handover: &Handover| self.poison.contains(&which(&handover.event));
        let spoils = batch.iter().any(is_poison) && rng.bool();
        for handover in &batch {
            reports.push_back(match (is_poison(handover), spoils) {
                (true, _) => failed(handover, Class::DeadLetter, Reason::Rejected),
                (false, true) => failed(handover, Class::Requeue, Reason::Rejected),
                (false, false) => {
                    self.delivered.push(which(&handover.event));
                    Report::Confirmed {
                        seq: handover.seq,
                        attempt: handover.attempt,
                    }
                }
            });
        }
    }

    /// The event's own fault. librdkafka leaves no gap behind it: it is of no use any more.
    fn refuse(&mut self, handover: &Handover, reports: &mut VecDeque<Report>) {
        let blamed = failed(handover, Class::DeadLetter, Reason::TooLarge);
        if self.changes_over {
            reports.push_back(blamed);
            let others = self.in_flight.drain(..);
            reports
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
        reports.extend(both);
        self.needs_rebuild = true;
        self.fail_all(Class::Rebuild, Reason::Fatal, reports);
    }

    /// As `publish::amqp` forms its batches: what was handed over behind a failure fails too.
    fn next_batch(&mut self, most: usize, reports: &mut VecDeque<Report>) -> Vec<Handover> {
        let (behind, live): (VecDeque<_>, _) = std::mem::take(&mut self.in_flight)
            .into_iter()
            .partition(|handover| Some(handover.attempt) == self.failed);
        self.in_flight = live;
        reports.extend(
            behind
                .iter()
                .map(|handover| failed(handover, Class::Retry, Reason::Other)),
        );
        let count = most.min(self.in_flight.len());
        self.in_flight.drain(..count).collect()
    }

    /// Some of what the client has sent arrived, up to some event, and nobody will hear of it.
    fn deliver_some(&mut self, rng: &mut Rng, reports: &mut VecDeque<Report>) {
        let sent = match self.client {
            Client::Gapless | Client::Tolerant => self.in_flight.drain(..).collect(),
            Client::Batches => self.next_batch(8, reports),
        };
        let some = rng.usize(..=sent.len());
        for handover in &sent[..some] {
            if self.poison.contains(&which(&handover.event)) && self.client == Client::Gapless {
                break;
            }
            self.deliver(handover);
        }
        for handover in sent.into_iter().rev() {
            self.in_flight.push_front(handover);
        }
    }

    fn batch(&mut self, rng: &mut Rng, ill: bool, reports: &mut VecDeque<Report>) {
        let most = rng.usize(1..8);
        let batch = self.next_batch(most, reports);
        for handover in batch {
            let is_poison = self.poison.contains(&which(&handover.event));
            let nacked = ill && !self.always_well && rng.bool();
            reports.push_back(match (is_poison, nacked) {
                (true, _) => failed(&handover, Class::DeadLetter, Reason::TooLarge),
                (_, true) => failed(&handover, Class::Retry, Reason::Nack),
                _ => {
                    self.deliver(&handover);
                    Report::Confirmed {
                        seq: handover.seq,
                        attempt: handover.attempt,
                    }
                }
            });
            if is_poison || nacked {
                self.failed = Some(handover.attempt);
            }
        }
    }

    fn deliver(&mut self, handover: &Handover) {
        let which = which(&handover.event);
        if !self.poison.contains(&which) {
            self.delivered.push(which);
        }
    }
}
