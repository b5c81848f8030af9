"""Writes a CloudWatch dashboard as one HTML file, with everything that it shows in a time.

Charts can be looked into and variables selected without any connection. Works with local AWS
(`--endpoint-url`) and with a real account, with the credentials and the region that every AWS tool finds.
It needs cloudwatch:GetDashboard, cloudwatch:GetMetricData, and for log widgets logs:StartQuery,
logs:GetQueryResults and logs:StopQuery. Ends with 1 when a widget could not be shown: the page says why.
"""

from __future__ import annotations

import argparse
import re
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_aws.dashboard import page, snapshot
from local_aws.dashboard.body import BodyError
from local_aws.dashboard.clients import Clients

DEFAULT_SECONDS = 3 * 3600
"""What CloudWatch shows of a dashboard that does not say.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html"""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; 0 when every widget is shown."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        session = boto3.Session(region_name=options.region)
        clients = Clients(
            lambda service, region: session.client(
                service,  # type: ignore[call-overload]  # a variable, where the stubs list each service
                region_name=region,
                endpoint_url=options.endpoint_url,
                config=Config(max_pool_connections=snapshot.WORKERS),
            )
        )
        body = snapshot.get_body(clients, options.name)
        start = options.start or options.end - timedelta(seconds=body.seconds or DEFAULT_SECONDS)
        if start >= options.end:
            parser.error(f"expected --from before --to, found {start:%FT%T} and {options.end:%FT%T}")
        taken = snapshot.take(
            options.name,
            body,
            clients,
            start,
            options.end,
            selected=dict(options.set),
            progress=progress,
        )
    except (BodyError, ClientError, BotoCoreError) as error:
        sys.exit(f"the dashboard {options.name} cannot be shown: {error}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page.make(taken.data), encoding="utf-8")
    sys.stdout.write(f"{options.out}: {len(taken.data['widgets'])} widgets\n")
    sys.stderr.writelines(f"  not shown: {line}\n" for line in taken.errors)
    return 1 if taken.errors else 0


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m local_aws.dashboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", default="Locust", help="of the dashboard (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("dashboard.html"), help="(default: %(default)s)")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="TIME",
        type=time,
        help="begin: ISO 8601 (2026-11-21T10:00:00Z), or so long ago (90s, 30m, 3h, 2d)"
        " (default: as the dashboard says, else 3h)",
    )
    parser.add_argument(
        "--to", dest="end", metavar="TIME", type=time, default="0s", help="end, likewise (default: now)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="VARIABLE=VALUE",
        type=assignment,
        help="select a value of a variable, by its id; may be repeated",
    )
    parser.add_argument("--endpoint-url", help="where local AWS listens (default: AWS)")
    parser.add_argument("--region", help="(default: that of the environment or profile)")
    return parser


def time(text: str) -> datetime:
    """An option's type: a moment, in UTC unless it says otherwise."""
    if match := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return datetime.now(timezone.utc) - timedelta(seconds=int(match[1]) * UNITS[match[2]])
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a time like 2026-11-21T10:00:00Z or 30m, found {text!r}"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def assignment(text: str) -> tuple[str, str]:
    """An option's type: a name and a value."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected VARIABLE=VALUE, found {text!r}")
    return name, value


def progress(done: int, total: int) -> None:
    """Says how far it is, on a terminal."""
    if sys.stderr.isatty():
        line = f"{done} of {total} widgets" if done < total else ""
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nstopped")
