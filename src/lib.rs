//! Publishes the batches of a Locust load test to CloudWatch.
//!
//! # Layout
//!
//! In the order in which the data flow. The first four stages are pure: no client, no clock, no environment.
//!
//! - [`notification`]: the invocation's event → which objects to relay.
//! - [`batch`]: one object's bytes → records, checked.
//! - [`distribution`]: value → count, grouped; what percentiles are computed from.
//! - [`plan`](mod@plan): records → the exact CloudWatch calls, each within every limit; plain data.
//! - [`deliver`](mod@deliver): a plan → CloudWatch, call by call, remembering what is done.
//! - [`ledger`]: which batches were delivered, and by whom they are being delivered.
//! - [`replay`]: archived batches, published again under another name at another time.
//! - [`relay`](mod@relay): all of it, for each object of an event.
//! - [`telemetry`]: the relay's own health, as lines of the embedded metric format.
//! - [`aws`]: the services behind the traits of the others; the only place that sends requests.
//! - [`config`]: the settings, from `RELAY_*` variables.
//! - [`preview`]: what publishing batches would take, without publishing them.
//! - [`vocabulary`]: every name that users meet, as one table.
//! - [`error`]: why an invocation failed, under stable names.

pub mod aws;
pub mod batch;
pub mod config;
pub mod deliver;
pub mod distribution;
pub mod error;
pub mod ledger;
pub mod notification;
pub mod plan;
pub mod preview;
pub mod relay;
pub mod replay;
pub mod telemetry;
pub mod vocabulary;
