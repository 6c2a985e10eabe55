//! Properties of the room `minchat` that need more than single cases, and what it costs in allocations.

mod allocations;
mod oracle;
mod properties;
mod random;
