//! Compressed batch → plan: how long it takes, how much memory, and what comes out.
//!
//! `core-bench plan FILE` plans a batch once, in a process that does nothing else: its peak memory is the plan's.
//! `core-bench decompress FILE` only decompresses it, once.
//! `core-bench time FILE ROUNDS` decompresses and plans it in turns, and says the least processor time of each.
//!
//! The settings are those of the relay, from `RELAY_*` variables. Each prints one JSON object. What is in a plan, the
//! relay itself says: `locust-cloudwatch-relay preview FILE`.

use std::error::Error;
use std::hint::black_box;
use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use core_bench::batch::Reader;
use core_bench::config::Config;
use core_bench::plan::{Plan, plan};
use flate2::bufread::MultiGzDecoder;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// What the relay decompresses into at a time, too.
const BUFFER_BYTES: usize = 64 << 10;

/// Large enough for ten million requests.
const DEFAULT_MAX_BATCH_MB: &str = "4096";

const USAGE: &str = "expected `plan FILE`, `time FILE ROUNDS` or `decompress FILE`";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (mode, file) = match arguments[..] {
        [mode, file] | [mode, file, _] => (mode, file),
        _ => return Err(USAGE.into()),
    };
    let bytes = std::fs::read(file)?;
    let found = match (mode, arguments.get(2)) {
        ("plan", None) => json!({ "requests": plan_of(&bytes, &config()?)?.requests }),
        ("decompress", None) => json!({ "text_bytes": decompress(&bytes)? }),
        ("time", Some(rounds)) => timed(&bytes, rounds.parse()?)?,
        _ => return Err(USAGE.into()),
    };
    println!("{}", with_peak(found)?);
    Ok(())
}

fn config() -> Result<Config, Box<dyn Error>> {
    Ok(Config::read(|name| match std::env::var(name) {
        Ok(value) => Some(value),
        Err(_) => match name {
            "RELAY_LOG_GROUP" => Some("/locust/bench".into()),
            "RELAY_MAX_BATCH_MB" => Some(DEFAULT_MAX_BATCH_MB.into()),
            _ => None,
        },
    })?)
}

/// All that is measured: decode, parse, distributions, plan. The plan is made at the end of the batch's interval.
fn plan_of(bytes: &[u8], config: &Config) -> Result<Plan, Box<dyn Error>> {
    let reader = Reader::open(bytes, config.max_batch_bytes)?;
    let now_ms = reader.header().to_ms;
    Ok(plan(reader, config, now_ms)?)
}

/// Decompression alone, with the relay's library: what no relay can do without.
fn decompress(bytes: &[u8]) -> Result<usize, Box<dyn Error>> {
    let mut decoder = MultiGzDecoder::new(bytes);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut total = 0;
    loop {
        match decoder.read(&mut buffer)? {
            0 => return Ok(total),
            read => total += read,
        }
    }
}

/// In turns, so that both meet the same neighbours on the machine; the least of all rounds counts.
fn timed(bytes: &[u8], rounds: u32) -> Result<Value, Box<dyn Error>> {
    let config = config()?;
    let (mut decompression, mut whole) = (Duration::MAX, Duration::MAX);
    let mut text_bytes = 0;
    for _ in 0..rounds {
        let start = processor_time();
        text_bytes = black_box(decompress(bytes)?);
        let middle = processor_time();
        drop(black_box(plan_of(bytes, &config)?));
        decompression = decompression.min(middle - start);
        whole = whole.min(processor_time() - middle);
    }
    Ok(json!({
        "rounds": rounds,
        "text_bytes": text_bytes,
        "decompress_s": decompression.as_secs_f64(),
        "plan_s": whole.as_secs_f64(),
    }))
}

/// Of this process so far: what others do on the machine counts as little as possible.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Adds the most memory that this process ever had resident, in KiB; Linux says so in `/proc`.
fn with_peak(mut found: Value) -> Result<Value, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")).ok_or("no VmHWM in /proc/self/status")?;
    found["peak_kib"] = kib.trim().parse::<u64>()?.into();
    Ok(found)
}
