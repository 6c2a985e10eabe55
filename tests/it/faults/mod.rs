//! Faults, and what has to hold: the real binary against real brokers, with a checker that is the
//! same for every row.

mod checker;
mod disk;
mod kafka;
mod rabbitmq;
mod senders;
