"""`python -m local_aws`: local AWS to explore by hand, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from local_aws import LocalAws, TemplateError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit status is 2 for arguments that do not fit."""
    parser = argparse.ArgumentParser(prog="python -m local_aws", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--template", type=Path, help="SAM template to deploy")
    parser.add_argument("--function-binary", type=Path, help="binary of the template's function")
    options = parser.parse_args(arguments)
    if options.function_binary and not options.template:
        parser.error("--function-binary needs --template")
    for path in (options.template, options.function_binary):
        if path and not path.is_file():
            parser.error(f"expected a file, found none at {path}")
    # A stop by a supervisor is as orderly as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as running:
        try:
            aws = running.enter_context(LocalAws(port=options.port))
            _start(aws, options.template, options.function_binary, running)
        except (TemplateError, OSError) as error:
            parser.error(str(error))
        sys.stdout.flush()
        signal.pause()
    return 0


def _start(aws: LocalAws, template: Path | None, binary: Path | None, running: contextlib.ExitStack) -> None:
    for name, value in aws.environment().items():
        _say(f"export {name}={value}")
    if template is None:
        return
    stack = aws.deploy(template)
    for name, value in stack.outputs.items():
        _say(f"# {name}: {value}")
    if binary is None:
        return
    if len(stack.functions) != 1:
        raise TemplateError(
            f"{template}: expected one function, found {', '.join(stack.functions) or 'none'}"
        )
    (function,) = stack.functions
    running.enter_context(aws.run_function(stack, function, [binary.resolve()]))
    _say(f"# {function} runs {binary}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
