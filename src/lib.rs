//! minchat-bridge: webhooks in, events out.

pub mod app;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod envelope;
pub mod http;
pub mod publish;
pub mod route;
pub mod secret;
pub mod spool;
pub mod telemetry;
pub mod units;
