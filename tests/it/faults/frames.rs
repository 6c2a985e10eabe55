//! What a proxy carries, taken apart into frames, so that one confirm can get lost on a connection that
//! goes on.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use crate::process::await_some;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A confirm is a `basic.ack`.
    Amqp,
    /// A confirm is the answer to a produce request.
    Kafka,
}

/// Decides for all connections of a proxy which confirm gets lost.
pub struct Loss {
    pub protocol: Protocol,
    next: Mutex<Next>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Every confirm comes through.
    Keep,
    /// So many come through, the one after them is lost.
    LoseAfter(usize),
    Lost,
}

/// One connection's frames.
pub struct Connection {
    asked: Frames,
    answered: Frames,
    /// The correlation ids of Kafka's produce requests.
    produced: HashSet<[u8; 4]>,
}

/// One direction's bytes, as far as they are no whole frame yet.
struct Frames {
    protocol: Protocol,
    buffer: Vec<u8>,
}

impl Loss {
    pub fn new(protocol: Protocol) -> Self {
        Loss {
            protocol,
            next: Mutex::new(Next::Keep),
        }
    }

    /// So many more confirms come through, and then one is lost.
    pub fn lose_after(&self, confirms: usize) {
        *self.next() = Next::LoseAfter(confirms);
    }

    /// Waits until the confirm is lost.
    pub fn await_lost(&self) {
        await_some("a lost confirm", || {
            (*self.next() == Next::Lost).then_some(())
        });
    }

    fn takes_this_one(&self) -> bool {
        let mut next = self.next();
        *next = match *next {
            Next::LoseAfter(0) => {
                *next = Next::Lost;
                return true;
            }
            Next::LoseAfter(confirms) => Next::LoseAfter(confirms - 1),
            same => same,
        };
        false
    }

    fn next(&self) -> MutexGuard<'_, Next> {
        self.next.lock().expect("nobody panics with it")
    }
}

impl Connection {
    pub fn new(protocol: Protocol) -> Self {
        let frames = || Frames {
            protocol,
            buffer: Vec::new(),
        };
        Connection {
            asked: frames(),
            answered: frames(),
            produced: HashSet::new(),
        }
    }

    /// Hears what the client says.
    pub fn asks(&mut self, bytes: &[u8]) {
        // AMQP tells a confirm by itself.
        if self.asked.protocol == Protocol::Amqp {
            return;
        }
        for frame in self.asked.push(bytes) {
            // Length, key of the API, version, correlation id.
            if frame[4..6] == [0, 0] {
                self.produced
                    .insert(frame[8..12].try_into().expect("it is four bytes"));
            }
        }
    }

    /// What comes through of what the broker says.
    pub fn answers(&mut self, bytes: &[u8], loss: &Loss) -> Vec<u8> {
        let mut through = Vec::new();
        for frame in self.answered.push(bytes) {
            if !(self.is_confirm(&frame) && loss.takes_this_one()) {
                through.extend(frame);
            }
        }
        through
    }

    fn is_confirm(&mut self, frame: &[u8]) -> bool {
        match self.answered.protocol {
            // A method, of the class basic, with the number of ack.
            Protocol::Amqp => frame[0] == 1 && frame[7..11] == [0, 60, 0, 80],
            Protocol::Kafka => self.produced.remove(&frame[4..8]),
        }
    }
}

impl Frames {
    /// The frames that are whole now.
    fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.buffer.extend(bytes);
        let mut whole = Vec::new();
        while let Some(length) = self.length().filter(|length| *length <= self.buffer.len()) {
            whole.push(self.buffer.drain(..length).collect());
        }
        whole
    }

    fn length(&self) -> Option<usize> {
        // What stands before the length, and what besides belongs to a frame.
        let (at, besides) = match self.protocol {
            Protocol::Amqp => (3, 8),
            Protocol::Kafka => (0, 4),
        };
        let length = self.buffer.get(at..at + 4)?;
        let length = u32::from_be_bytes(length.try_into().expect("it is four bytes"));
        Some(length as usize + besides)
    }
}
