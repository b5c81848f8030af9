"""One process of the relay's benchmark: runs the reference handler's computing on a batch, and measures it.

`python benches/reference_load.py <file> <rounds>` prints one JSON object. Run by `benches/relay_core.py`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benches.reference_handler import calls


def main() -> None:
    """Measures: the least processor time of all rounds, and the peak of memory."""
    body = Path(sys.argv[1]).read_bytes()
    least = float("inf")
    for _ in range(int(sys.argv[2])):
        start = time.process_time()
        for _call in calls(body):
            pass
        least = min(least, time.process_time() - start)
    print(json.dumps({"seconds": least, "peak_kib": peak_kib()}))  # noqa: T201


def peak_kib() -> int:
    """The most memory that this process ever had resident; getrusage would count the parent's as well."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])


if __name__ == "__main__":
    main()
