"""docs/operations.md names every error, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.rs")))
_KIND_FUNCTION = re.compile(r"pub fn kind\(&self\) -> &'static str \{\n(.*?)\n    \}\n", re.DOTALL)
_KIND = re.compile(r"=>\s*(?:\{\s*)?\"([A-Z]\w+)\"")
_DOCUMENTED = re.compile(r"^\| `(\w+)` \|.*\| (soon|after a change|never) \|$", re.MULTILINE)


def kinds_in_code() -> set[str]:
    """The names that the functions `kind` return."""
    bodies = _KIND_FUNCTION.findall(SOURCE)
    assert len(bodies) == 4  # of causes, of the whole event, of batches, of plans
    return {kind for body in bodies for kind in _KIND.findall(body)}


def test_every_error_has_a_row_and_every_row_an_error() -> None:
    documented = _DOCUMENTED.findall((ROOT / "docs" / "operations.md").read_text())
    names = [name for name, _ in documented]
    assert len(names) == len(set(names)), "one row each"
    assert set(names) == kinds_in_code()


def test_the_columns_of_the_ledger_are_documented() -> None:
    """The entry's fields, as the relay writes them."""
    (entry,) = re.findall(r"^(?:pub.* )?struct Entry \{\n(.*?)\n\}", SOURCE, re.DOTALL | re.MULTILINE)
    (progress,) = re.findall(r"^pub struct Progress \{\n(.*?)\n\}", SOURCE, re.DOTALL | re.MULTILINE)
    fields = set(re.findall(r"^    (?:pub.* )?(\w+):", f"{entry}\n{progress}", re.MULTILINE)) - {"progress"}
    text = (ROOT / "docs" / "operations.md").read_text().partition("## The ledger")[2]
    assert fields == {field for field in fields if f"`{field}`" in text}
