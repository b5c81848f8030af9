//! The relay's pure stages, compiled for fuzzing.
//!
//! They are included as source: the whole library would bring the AWS SDKs, which take minutes to compile and have no
//! part in what is fuzzed.
#![allow(dead_code, clippy::all)]

#[path = "../src/batch/mod.rs"]
pub mod batch;
#[path = "../src/config.rs"]
pub mod config;
#[path = "../src/distribution/mod.rs"]
pub mod distribution;
#[path = "../src/notification.rs"]
pub mod notification;
#[path = "../src/plan/mod.rs"]
pub mod plan;

/// Largest batch after decompression, in bytes: small, so that many are tried.
pub const LIMIT: u64 = 1 << 20;
