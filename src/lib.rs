//! minchat-bridge: webhooks in, events out.
