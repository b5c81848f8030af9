"""Text widgets: Markdown becomes HTML that can do nothing but be read."""

from __future__ import annotations

from typing import Any

from markdown_it import MarkdownIt

from local_aws.dashboard.body import BodyError, Widget

# HTML in the text is shown, not obeyed; pictures would be fetched from elsewhere.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
LOWEST_HEADING = 6


def show(widget: Widget) -> dict[str, Any]:
    """What a text widget shows, as the page takes it: safe HTML."""
    markdown = widget.properties.get("markdown")
    if not isinstance(markdown, str):
        raise BodyError(f"markdown: expected a text, found {markdown!r}")
    plain = widget.properties.get("background") == "transparent"
    return {"view": "text", "html": _html(markdown), "transparent": plain, "notes": []}


def _html(markdown: str) -> str:
    """Its headings are one level lower: the page has a first one, the dashboard's name."""
    tokens = _MARKDOWN.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + 1, LOWEST_HEADING)}"
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))
