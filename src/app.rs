//! Wires all rooms, starts and stops them in order.

use std::process::ExitCode;

use crate::config::{Inputs, Loaded};

/// Serves until a signal. `inputs` are for reloading.
pub fn serve(inputs: Inputs, loaded: Loaded) -> ExitCode {
    let _ = (inputs, loaded);
    ExitCode::from(69)
}

/// Reaches each broker, and each topic or exchange.
pub fn check(loaded: Loaded) -> ExitCode {
    let _ = loaded;
    ExitCode::from(69)
}

/// Creates what the routes need on the brokers.
pub fn create_topics(loaded: Loaded) -> ExitCode {
    let _ = loaded;
    ExitCode::from(69)
}

/// Compares what the routes need with what is on the brokers.
pub fn check_topics(loaded: Loaded) -> ExitCode {
    let _ = loaded;
    ExitCode::from(69)
}
