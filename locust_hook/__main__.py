"""`python -m locust_hook <command>`."""

from __future__ import annotations

import os
import sys

USAGE = """\
usage: python -m locust_hook <command> [options]

  run <any locust options>   run Locust with the hook attached, without a change to the locustfile
  sidecar --url URL --to URL read Locust through its web interface instead, from outside (sidecar --help)
  redrive --queue URL | --keys KEY ...
                             have batches that could not be published delivered again (redrive --help)
  runs SOURCE                list the archived tests and runs (runs --help)
  replay SOURCE --name NAME  publish archived runs again, at another time (replay --help)
  compare RUN_A RUN_B        put two archived runs side by side, and fail on regressions (compare --help)
"""


def run(arguments: list[str]) -> None:
    """Runs Locust's own command line with the hook attached; it ends as Locust ends."""
    # `python -m` looks into the current folder first, where a calendar.py, or a locustfile named locust.py,
    # would stand for what Locust imports. Locust adds the folder itself, once it is imported.
    if not getattr(sys.flags, "safe_path", False) and sys.path[:1] == [os.getcwd()]:
        del sys.path[0]
    try:
        import locust.main
    except ModuleNotFoundError as error:
        if error.name != "locust":
            raise
        sys.exit(f"expected Locust beside {sys.executable}, found none: pip install 'locust>=2.32'")

    from .recording.attach import attach

    attach()
    sys.argv = ["locust", *arguments]
    sys.exit(locust.main.main())  # type: ignore[no-untyped-call]


def main(arguments: list[str]) -> None:
    """Runs a command; exits with 2 when there is no such command."""
    match arguments:
        case ["run", *rest]:
            run(rest)
        case ["sidecar", *rest]:
            from .sidecar.command import main as sidecar

            sys.exit(sidecar(rest))
        case ["redrive", *rest]:
            from .commands.redrive import main as redrive

            sys.exit(redrive(rest))
        case ["replay", *rest]:
            from .commands.replay import main as replay

            sys.exit(replay(rest))
        case ["runs", *rest]:
            from .commands.runs import main as runs

            sys.exit(runs(rest))
        case ["compare", *rest]:
            from .commands.compare import main as compare

            sys.exit(compare(rest))
        case ["-h" | "--help"]:
            print(USAGE)  # noqa: T201
        case _:
            print(  # noqa: T201
                f"{USAGE}\nexpected a command, found {' '.join(arguments[:1]) or 'none'}", file=sys.stderr
            )
            sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
