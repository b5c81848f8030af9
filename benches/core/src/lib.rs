//! The relay's pure stages, compiled as they are but without the AWS SDKs.
#![allow(dead_code)]

#[path = "../../../src/batch/mod.rs"]
pub mod batch;
#[path = "../../../src/config.rs"]
pub mod config;
#[path = "../../../src/distribution/mod.rs"]
pub mod distribution;
#[path = "../../../src/plan/mod.rs"]
pub mod plan;
