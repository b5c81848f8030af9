//! The relay's library from outside: what the hook writes, what AWS sends, and what goes over the wire.

mod events;
mod golden;
mod wire;
