//! The Lambda function: settings and clients, once; then one event after the other. With arguments, a command that
//! works without AWS.

mod command;

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::{Error, LambdaEvent, service_fn};
use relay::aws::{self, CloudWatch, CloudWatchLogs, S3};
use relay::config::{Config, plan_settings};
use relay::relay::{Invocation, Relay};
use serde_json::Value;
use tokio::time::Instant;

/// Kept from the invocation's time for recording how far it came; of a short one, a tenth.
const RESERVE: Duration = Duration::from_secs(5);

/// Kept from the invocation's time for its answer.
const LAST_MOMENT: Duration = Duration::from_millis(500);

// One thread: below 1,769 MB of memory, Lambda gives less than one processor.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.is_empty() {
        return command::run(&arguments);
    }
    lambda_runtime::tracing::init_default_subscriber();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the relay stops");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let variable = |name: &str| std::env::var(name).ok();
    let config = Config::read(variable)?;
    let environment = aws::environment().await;
    let relay = Relay {
        config,
        plan_settings: plan_settings(variable),
        store: S3::new(&environment),
        metrics: CloudWatch::new(&environment),
        logs: CloudWatchLogs::new(&environment),
        clock: now_ms,
        random: fastrand::f64,
        print: |line| println!("{line}"),
    };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let left = Duration::from_millis(event.context.deadline.saturating_sub(now_ms().unsigned_abs()));
        let end = Instant::now() + left - LAST_MOMENT.min(left / 20);
        let deadline = end - RESERVE.min(left / 10);
        let invocation = Invocation { request_id: event.context.request_id, deadline, end };
        relay.handle(&event.payload, &invocation).await
    }))
    .await
}

fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
