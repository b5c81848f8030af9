"""What the relay takes, beside the least there can be and a handler in Python: `python -m benches.relay`.

The numbers go to `target/bench/summary.json` under `relay`, tables to the terminal.
"""

from __future__ import annotations

import argparse
import sys

from benches import programs, relay_core, relay_process
from benches.quotas import LOCUST_CLOUDWATCH_CALLS, LOCUST_PLUGINS_CALLS
from benches.summary import number, save, say, table


def cost(warm: relay_process.Warm) -> str:
    """What a million requests take of AWS, beside what the older tools took."""
    million = 1e6 / warm.requests
    calls = relay_process.calls_per_batch(warm) * million
    sent = (warm.batch_bytes + warm.typical.sent_bytes) * million / 1e6
    dollars = relay_process.dollars_per_batch(warm) * million
    rows = [
        ("this relay, all its calls and the hook's", number(calls), number(sent), f"{dollars:.4f}"),
        (
            "locust-plugins' CloudWatch listener",
            f"{LOCUST_PLUGINS_CALLS:,}",
            "",
            f"{LOCUST_PLUGINS_CALLS / 1e5:.2f}",
        ),
        (
            "locust-cloudwatch, metrics and logs",
            f"{LOCUST_CLOUDWATCH_CALLS:,}",
            "",
            f"{LOCUST_CLOUDWATCH_CALLS / 2 / 1e5:.2f} and the logs",
        ),
    ]
    return table(("a million requests", "calls", "MB sent", "dollars without metered metrics"), rows)


def main() -> None:
    """Measures, prints and saves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds, and no batch of ten million requests"
    )
    quick = parser.parse_args().quick
    if not programs.PYTHON.exists():
        sys.exit(f"expected a Python with requirements-bench.txt at {programs.PYTHON}: use `make bench`")
    core = relay_core.measure(quick)
    binaries = {"empty function": programs.empty_function(), "relay": programs.relay()}
    count = 5 if quick else relay_process.STARTS
    say(f"starting each function {count} times …")
    starts = relay_process.starts(binaries, count)
    count = 5 if quick else relay_process.INVOCATIONS
    say(f"relaying {count} batches …")
    warm = relay_process.invocations(count)
    numbers = {**relay_core.summary(core), **relay_process.summary(starts, warm)}
    save("relay", {name: None if value is None else round(value, 4) for name, value in numbers.items()})
    print(relay_core.report(core), relay_process.report(starts, warm), cost(warm), sep="\n\n")  # noqa: T201


if __name__ == "__main__":
    main()
