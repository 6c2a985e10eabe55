//! Tests from the outside: sockets in, answers out.

#[cfg(feature = "amqp")]
mod amqp;
