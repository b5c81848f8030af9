//! Publishes the batches of a Locust load test to CloudWatch.
//!
//! # Layout
//!
//! In the order in which the data flow; the first stages are pure: no client, no clock, no environment.
//!
//! - [`config`]: the settings, from `RELAY_*` variables.
//! - [`notification`]: the invocation's event → which objects to relay.
//! - [`batch`]: one object's bytes → records, checked.
//! - [`distribution`]: value → count, grouped; what percentiles are computed from.
//! - [`plan`](mod@plan): records → the exact CloudWatch calls, each within every limit; plain data.

pub mod batch;
pub mod config;
pub mod distribution;
pub mod notification;
pub mod plan;
