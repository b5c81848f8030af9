//! What the binary does when it is called with arguments: commands for a desk, which need no AWS.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use relay::config::Config;
use relay::preview::Preview;
use relay::vocabulary::vocabulary;

const USAGE: &str = "\
usage: locust-cloudwatch-relay            runs as a Lambda function (AWS_LAMBDA_RUNTIME_API says where to ask for events)
       locust-cloudwatch-relay preview FILE...
                                          prints as JSON what publishing these batches would take: calls, metrics, bytes
       locust-cloudwatch-relay names      prints as JSON the names of metrics, log events and settings

The settings are RELAY_* environment variables, as of the function; without RELAY_LOG_GROUP there are no log events.
";

/// Runs a command. The exit code is 1 when it fails, and 2 when there is no such command.
pub fn run(arguments: &[String]) -> ExitCode {
    let (command, files) = arguments.split_first().map_or(("", arguments), |(first, rest)| (first, rest));
    let done = match (command, files) {
        ("preview", [_, ..]) => preview(files),
        ("names", []) => config().and_then(|config| print(&vocabulary(&config))),
        ("-h" | "--help", _) => write(USAGE),
        _ => {
            let found = match command {
                "preview" => "preview without a file",
                "names" => "names with arguments, of which it takes none",
                other => other,
            };
            eprint!("{USAGE}\nexpected a command, found {found}\n");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn preview(files: &[String]) -> Result<(), String> {
    let config = config()?;
    let mut preview = Preview::default();
    for file in files {
        let mut bytes = Vec::new();
        let read =
            File::open(file).and_then(|open| open.take(config.max_batch_bytes).read_to_end(&mut bytes));
        read.map_err(|error| format!("{file}: {error}"))?;
        preview.add(&bytes, &config).map_err(|error| format!("{file}: {error} ({})", error.kind()))?;
    }
    print(&preview)
}

fn config() -> Result<Config, String> {
    Config::read(|name| std::env::var(name).ok()).map_err(|error| error.to_string())
}

fn print(value: &impl serde::Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    write(&format!("{text}\n"))
}

fn write(text: &str) -> Result<(), String> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| format!("standard output: {error}"))
}
