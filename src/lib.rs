//! minchat-bridge: webhooks in, events out.
pub mod minchat;
