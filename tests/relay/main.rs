//! The relay's library from outside: what the hook writes, what AWS sends, and what goes over the wire.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation ends the test")]

mod events;
mod golden;
mod wire;
