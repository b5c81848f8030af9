"""One process of the relay's benchmark: runs the reference handler's computing on a batch, and measures it.

`python benches/reference_load.py <file> <rounds>` prints one JSON object. Run by `benches/relay_core.py`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benches.reference_handler import calls


def main() -> None:
    """Measures: the least time of all rounds, and the peak of memory."""
    body = Path(sys.argv[1]).read_bytes()
    least = float("inf")
    for _ in range(int(sys.argv[2])):
        start = time.perf_counter()
        for _call in calls(body):
            pass
        least = min(least, time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
    print(json.dumps({"seconds": least, "peak_kib": peak}))  # noqa: T201


if __name__ == "__main__":
    main()
