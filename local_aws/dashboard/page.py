"""A snapshot as one HTML page that needs nothing else: data, style, code and charting library are in it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

FOLDER = Path(__file__).parent
CODE = ("draw.js", "charts.js", "widgets.js", "frame.js")
"""In the order of use: each only calls those before it while the page begins."""


def make(data: dict[str, Any], *, live: bool = False) -> str:
    """The page. A `live` one asks the server that it came from for newer data."""
    scripts = [_library(), _code()]
    style = (FOLDER / "page.css").read_text()
    # Only this code runs, whatever the data hold; nothing is fetched from elsewhere.
    policy = {
        "default-src": ["'none'"],
        "script-src": [_hash(script) for script in scripts],
        # The charting library sets styles of its own.
        "style-src": ["'unsafe-inline'"],
        "img-src": ["data:"],
        "connect-src": ["'self'" if live else "'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    return Template((FOLDER / "page.html").read_text()).substitute(
        policy=html.escape("; ".join(" ".join([name, *values]) for name, values in policy.items())),
        title=html.escape(str(data["name"])),
        style=style,
        data=encode({**data, "live": live}),
        library=scripts[0],
        script=scripts[1],
    )


def encode(data: Any) -> str:
    """JSON that may stand in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _code() -> str:
    """The page's own code, as one function, so that its names stay its own."""
    parts = [(FOLDER / name).read_text() for name in CODE]
    return "\n".join(['(() => {\n"use strict";', *parts, "})();"])


@cache
def _library() -> str:
    # A browser reads CR LF as LF, and then hashes what it read.
    script: str = get_plotlyjs().replace("\r\n", "\n")
    if "</script" in script.lower() or "<!--" in script:
        raise RuntimeError(
            "expected a charting library that can stand in a page, found one that ends its script"
        )
    return script


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
