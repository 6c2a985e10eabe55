//! Tells a lane what happened, and carries out the steps that it wants, on whichever thread runs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::generation::CurrentGeneration;
use super::health::BrokerHealth;
use super::kept::KeptDeadLetters;
use super::lane::{Answer, Condemned, Lane, Notice, Steps};
use super::lane_spool::{LaneSpool, ReadBack};
use super::mailbox::Mailbox;
use super::running::{Answers, RunLane};
use super::status::{LaneStatus, SpoolState};
use super::ticket::{DeadLetterTicket, Message, Ticket};
use super::window::BrokerWindow;
use crate::envelope::{Event, EventType, Verdict};
use crate::metrics::DestinationMetrics;
use crate::publish::{Class, Failure, Publisher, Reason, Report};
use crate::route::Destination;
use crate::spool::Appended;

/// How often an idle lane shows that it lives, and looks after its spool.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How much longer than asked for a stop may take, for the sync of what is left.
const SYNC: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Owner {
    pub(super) destination: Destination,
    pub(super) lane: Lane<Ticket>,
    pub(super) mailbox: Arc<Mailbox<Message>>,
    pub(super) status: Arc<LaneStatus>,
    pub(super) publisher: Box<dyn Publisher>,
    pub(super) window: Arc<BrokerWindow>,
    pub(super) health: Arc<BrokerHealth>,
    pub(super) metrics: DestinationMetrics,
    pub(super) kept: Option<KeptDeadLetters>,
    /// None while the spool is off.
    pub(super) lane_spool: Option<LaneSpool>,
    pub(super) generation: CurrentGeneration,
    pub(super) turn: Turn,
}

/// What a lane's owner keeps from one turn to the next.
#[derive(Default)]
pub(super) struct Turn {
    /// Events that went to the spool since the last trouble began.
    spooled: u64,
    /// The largest envelope that the destination takes, in bytes, as the publisher said last.
    max_envelope: Option<usize>,
    /// When the publisher has to be polled again, if it asked for that.
    poll_at: Option<Instant>,
    /// Until when what is in flight may still be confirmed, once the bridge stops.
    stop_at: Option<Instant>,
    steps: Steps<Ticket>,
    batch: Vec<Message>,
    reports: Vec<Report>,
}

impl RunLane for Owner {
    fn poll(&mut self, now: Instant) {
        let turn = &mut self.turn;
        let polled = self.publisher.poll(&mut turn.reports);
        turn.max_envelope = polled.max_envelope;
        turn.poll_at = polled.poll_within.map(|within| now + within);
        self.lane.limit_per_key(polled.per_key);
        for report in self.turn.reports.drain(..) {
            self.lane.report(now, report, &mut self.turn.steps);
        }
    }

    fn turn(&mut self, now: Instant, answers: &mut Answers) -> Option<Instant> {
        self.follow_broker_health(now);
        let mut batch = std::mem::take(&mut self.turn.batch);
        self.mailbox.take(&mut batch);
        for message in batch.drain(..) {
            self.handle(now, message);
        }
        self.turn.batch = batch;
        self.advance(now);
        answers.append(&mut self.turn.steps.answers);
        let is_late = self.turn.stop_at.is_some_and(|until| now >= until + SYNC);
        if self.lane.is_finished(now) || is_late {
            return None;
        }
        // No event that comes from now on is due before this time. So a worker that gives one has no need to wake the lane's
        // thread for it.
        let idle = now + HEARTBEAT.min(self.lane.shortest_wait());
        let times = [self.lane.wakes_at(), self.turn.poll_at].into_iter();
        Some(times.flatten().fold(idle, Instant::min))
    }

    fn close(mut self: Box<Self>, now: Instant) -> usize {
        let stop_at = self.turn.stop_at.unwrap_or(now);
        self.publisher.close(stop_at.saturating_duration_since(now));
        self.lane.unkept()
    }
}

impl Owner {
    /// Carries out what the lane wants at this time.
    fn advance(&mut self, now: Instant) {
        let (max_envelope, room) = (self.turn.max_envelope, self.window.room());
        self.lane
            .advance(now, max_envelope, room, &mut self.turn.steps);
        self.carry_out(now);
        let read_back = self.send_read_back();
        if let Some(lane_spool) = &mut self.lane_spool {
            if let Some(bytes) = self.turn.steps.load.take() {
                let numbers = self.lane.on_disk_alone();
                let current = self.generation.get();
                let read_stored = move |body: &[u8]| current.sealer().read_stored(body);
                lane_spool.load(read_stored, numbers, bytes, read_back);
            }
            lane_spool.mark(self.lane.mark());
            self.hold_memory();
        }
    }

    /// Brings what the spool's reading thread read to the lane.
    fn send_read_back(&self) -> impl FnOnce(ReadBack) + Send + 'static {
        let mailbox = Arc::clone(&self.mailbox);
        move |read| mailbox.push(Message::ReadBack(read))
    }

    /// Counts what the lane holds, and what is being read for it, in the broker's window.
    fn hold_memory(&self) {
        let reading = self.lane_spool.as_ref().map_or(0, LaneSpool::reading);
        self.window.holds(&self.status, self.lane.size() + reading);
    }

    /// A broker that another lane found out of reach is so for a lane that has yet to hear of it: no
    /// sender has to wait until it does.
    fn follow_broker_health(&mut self, now: Instant) {
        if self.lane.has_heard_nothing()
            && let Some(failure) = self.health.trouble()
        {
            let report = Report::Down(failure);
            self.lane.report(now, report, &mut self.turn.steps);
        }
    }

    fn handle(&mut self, now: Instant, message: Message) {
        let steps = &mut self.turn.steps;
        match message {
            Message::Give { ticket, .. } if self.turn.stop_at.is_some() => {
                steps.answers.push((ticket, Answer::Stopping));
            }
            Message::Give { event, ticket } => {
                let room = self.window.room();
                self.lane.give(now, event, ticket, room, steps);
                self.hold_memory();
            }
            Message::DeadLettered { condemned, taken } => {
                self.lane.dead_lettered(now, condemned, taken, steps);
            }
            Message::Appended(Appended { upto, refusal }) => {
                if let Some(lane_spool) = &mut self.lane_spool {
                    lane_spool.answered(now, refusal.as_ref());
                }
                self.lane.appended(now, upto, refusal, steps);
            }
            Message::SpoolAsked(refusal) => {
                if let Some(lane_spool) = &mut self.lane_spool {
                    lane_spool.answered(now, refusal.as_ref());
                }
            }
            Message::ReadBack(read) => {
                let lane_spool = self.lane_spool.as_mut();
                let lane_spool = lane_spool.expect("only a lane with a spool reads from it");
                if let Some(loaded) = lane_spool.read_back(read, &self.metrics) {
                    self.lane.loaded(now, loaded, steps);
                }
            }
            Message::Stop { until } => {
                self.turn.stop_at = Some(until);
                self.lane.stop(until);
            }
        }
    }

    /// Carries out the lane's steps, but for the answers. These go out last: whoever has one finds it in every number,
    /// status and log line that this lane has.
    fn carry_out(&mut self, now: Instant) {
        let mut steps = std::mem::take(&mut self.turn.steps);
        for notice in steps.notices.drain(..) {
            self.record(notice);
        }
        if !steps.append.is_empty()
            && let Some(lane_spool) = &mut self.lane_spool
        {
            let mailbox = Arc::clone(&self.mailbox);
            let current = self.generation.get();
            lane_spool.append(current.sealer(), &steps.append, move |appended| {
                mailbox.push(Message::Appended(appended));
            });
            steps.append.clear();
        }
        if !steps.publish.is_empty() {
            self.publisher.publish(&steps.publish);
            steps.publish.clear();
        }
        for condemned in steps.dead_letters.drain(..) {
            self.send_to_dead_letters(condemned);
        }
        if std::mem::take(&mut steps.rebuild) {
            self.publisher.rebuild();
        }
        self.turn.steps = steps;
        self.hold_memory();
        self.show(now);
    }

    /// Brings an event that the destination will never take to the dead letters.
    fn send_to_dead_letters(&self, condemned: Condemned) {
        tracing::warn!(
            destination = %self.destination,
            event_id = %condemned.event.id(),
            reason = condemned.reason.name(),
            detail = condemned.detail,
            "the destination will never take this event: it goes to the dead letters"
        );
        let event = &condemned.event;
        if event.event_type() == EventType::DeadLetter {
            self.keep(Arc::clone(event), condemned);
            return;
        }
        let verdict = Verdict {
            reason: condemned.reason,
            detail: condemned.detail.clone(),
            destination: Some(self.destination.to_string()),
        };
        let current = self.generation.get();
        let dead_letter = current.sealer().dead_letter_of(event, verdict);
        let Some(route) = current.dead_letters_of(event, &self.destination) else {
            self.keep(Arc::new(dead_letter), condemned);
            return;
        };
        if route.lanes.is_empty() {
            self.mailbox.push(Message::DeadLettered {
                condemned,
                taken: true,
            });
            return;
        }
        let dead_letter = Arc::new(dead_letter);
        let ticket = DeadLetterTicket::new(Arc::clone(&self.mailbox), route.lanes.len(), condemned);
        for lane in &route.lanes {
            let event = Arc::clone(&dead_letter);
            let ticket = Ticket::Lane(Arc::clone(&ticket));
            current.lanes[*lane]
                .mailbox
                .push(Message::Give { event, ticket });
        }
    }

    /// Keeps a dead letter as a file, since no destination is for it.
    fn keep(&self, dead_letter: Arc<Event>, condemned: Condemned) {
        let mailbox = Arc::clone(&self.mailbox);
        let done = move |taken| mailbox.push(Message::DeadLettered { condemned, taken });
        match &self.kept {
            Some(kept) => kept.keep(dead_letter, done),
            None => done(false),
        }
    }

    fn record(&mut self, notice: Notice) {
        let broker = self.metrics.broker();
        match notice {
            Notice::Taken(dead_letter) => {
                self.metrics.lane_event();
                if let Some(reason) = dead_letter {
                    self.metrics.dead_lettered(reason);
                }
            }
            Notice::Appended(events) => {
                self.metrics.spool_appended(events);
                self.health.spooled(events);
                self.turn.spooled += events;
            }
            Notice::Drained(events) => self.metrics.spool_drained(events),
            Notice::Lost(events) => tracing::error!(
                destination = %self.destination,
                events,
                "these events were in the spool and can't be read: their place on the disk is corrupt, or gone"
            ),
            Notice::SpoolRefuses(refusal) => tracing::error!(
                destination = %self.destination,
                %refusal,
                "the spool takes no more events: webhooks that need it get a 503"
            ),
            Notice::SpoolTakes => {
                tracing::info!(destination = %self.destination, "the spool takes events again");
            }
            Notice::Confirmed {
                bytes,
                publishing,
                latency,
            } => {
                self.health.confirmed();
                self.metrics.published(bytes);
                broker.publish_duration(publishing);
                broker.delivery_latency(latency);
            }
            Notice::DeadLettered(reason) => self.metrics.dead_lettered(reason),
            Notice::Failed(reason) => self.metrics.publish_failed(reason),
            Notice::Repeated(events) => broker.repeated(events as u64),
            Notice::Reached => {
                self.health.reached();
                tracing::debug!(destination = %self.destination, "reached");
            }
            Notice::TroubleBegan(failure) => {
                self.turn.spooled = 0;
                self.trouble_began(&failure);
            }
            Notice::TroubleChanged(failure) => {
                self.health.silence_ended();
                self.health.over(&self.destination);
                self.trouble_began(&failure);
            }
            Notice::TroubleEnded(lasted) => {
                self.health.silence_ended();
                let was_of_the_broker = self.health.over(&self.destination);
                // The lane's first trouble may have been its own, before it had ever reached the broker.
                self.health.reached();
                if !was_of_the_broker {
                    let (spooled, in_spool) = (self.turn.spooled, self.lane.kept());
                    tracing::info!(destination = %self.destination, ?lasted, spooled, in_spool, "events get through again");
                }
            }
        }
    }

    fn trouble_began(&self, failure: &Failure) {
        if let Some(silence) = self.lane.silence(Instant::now())
            && failure.reason == Reason::Timeout
        {
            self.health.is_silent_for(silence);
        }
        if failure.reason.is_of_the_whole_broker() {
            self.health.began(&self.destination, failure);
        } else if failure.class == Class::Operator {
            tracing::error!(
                destination = %self.destination,
                reason = failure.reason.name(),
                detail = failure.detail,
                "the destination takes no events until somebody mends this; trying again for ever"
            );
        } else {
            tracing::warn!(
                destination = %self.destination,
                reason = failure.reason.name(),
                detail = failure.detail,
                "events don't get through; trying again"
            );
        }
    }

    /// Shows what readiness, liveness and metrics ask for.
    fn show(&mut self, now: Instant) {
        self.metrics.pending(self.lane.pending());
        self.status.holds(self.lane.pending(), self.lane.kept());
        self.status.beat(now);
        let spool = self.lane_spool.as_ref();
        let spool = spool.map_or(&SpoolState::Off, LaneSpool::state);
        let (reached, outage) = (self.lane.reached(), self.lane.outage(now));
        self.status.shows(reached, outage, spool);
        let needs_spool = !reached || outage.is_some();
        let read_back = self.send_read_back();
        if let Some(lane_spool) = &mut self.lane_spool {
            lane_spool.show(now, &self.lane, &self.metrics, read_back);
            let mailbox = &self.mailbox;
            lane_spool.ask(now, needs_spool, || {
                let mailbox = Arc::clone(mailbox);
                move |refusal| mailbox.push(Message::SpoolAsked(refusal))
            });
        }
    }
}
