//! Faults, and what has to hold: the real binary against real brokers, with a checker that is the
//! same for every row.

mod addresses;
mod checker;
mod clients;
mod clock;
mod crowd;
mod disk;
pub mod frames;
mod kafka;
mod kafka_refusals;
mod logging;
mod long;
mod lost_confirms;
mod mock;
mod network;
mod panics;
mod panics_of_threads;
mod preload;
pub mod proxy;
mod rabbitmq;
mod rabbitmq_refusals;
mod scenes;
mod senders;
mod slow_files;
mod slow_reads;
mod three;

/// What `make faults` has in full, and `make test` in short.
fn thorough<T>(full: T, short: T) -> T {
    match std::env::var_os("MINCHAT_BRIDGE_FAULTS") {
        Some(_) => full,
        None => short,
    }
}
