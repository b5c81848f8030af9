"""docs/operations.md names every error, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ["src/error.rs", "src/batch/error.rs", "src/plan/mod.rs"]
_KIND_FUNCTION = re.compile(r"pub fn kind\(&self\) -> &'static str \{\n(.*?)\n    \}\n", re.DOTALL)
_KIND = re.compile(r"=>\s*(?:\{\s*)?\"([A-Z]\w+)\"")
_DOCUMENTED = re.compile(r"^\| `(\w+)` \|.*\| (soon|after a change|never) \|$", re.MULTILINE)


def kinds_in_code() -> set[str]:
    """The names that the functions `kind` return."""
    bodies = [body for name in SOURCES for body in _KIND_FUNCTION.findall((ROOT / name).read_text())]
    assert len(bodies) == len(SOURCES) + 1  # src/error.rs has two
    return {kind for body in bodies for kind in _KIND.findall(body)}


def test_every_error_has_a_row_and_every_row_an_error() -> None:
    documented = _DOCUMENTED.findall((ROOT / "docs" / "operations.md").read_text())
    names = [name for name, _ in documented]
    assert len(names) == len(set(names)), "one row each"
    assert set(names) == kinds_in_code()


def test_the_columns_of_the_ledger_are_documented() -> None:
    """The entry's fields, as the relay writes them."""
    source = (ROOT / "src" / "ledger.rs").read_text()
    (entry,) = re.findall(r"^struct Entry \{\n(.*?)\n\}", source, re.DOTALL | re.MULTILINE)
    fields = set(re.findall(r"^    (?:pub )?(\w+):", entry, re.MULTILINE)) - {"progress"}
    (progress,) = re.findall(
        r"^pub struct Progress \{\n(.*?)\n\}",
        (ROOT / "src" / "deliver.rs").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    fields |= set(re.findall(r"^    pub (\w+):", progress, re.MULTILINE))
    text = (ROOT / "docs" / "operations.md").read_text().partition("## The ledger")[2]
    assert fields == {field for field in fields if f"`{field}`" in text}
