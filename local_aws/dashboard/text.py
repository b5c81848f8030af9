"""Text widgets: Markdown becomes HTML that can do nothing but be read."""

from __future__ import annotations

from typing import Any

from markdown_it import MarkdownIt

from local_aws.dashboard.body import BodyError, Widget

# HTML in the text is shown, not obeyed; pictures would be fetched from elsewhere.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def show(widget: Widget) -> dict[str, Any]:
    """What a text widget shows, as the page takes it: safe HTML."""
    markdown = widget.properties.get("markdown")
    if not isinstance(markdown, str):
        raise BodyError(f"markdown: expected a text, found {markdown!r}")
    plain = widget.properties.get("background") == "transparent"
    return {"view": "text", "html": _MARKDOWN.render(markdown), "transparent": plain, "notes": []}
