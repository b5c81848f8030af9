"""Makes the first inputs of the fuzz targets from the golden batches and the sample events."""

from __future__ import annotations

import gzip
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    """Writes the inputs; those found by fuzzing stay."""
    data = ROOT / "tests" / "data"
    good = sorted([*data.glob("*.ndjson.*"), *data.glob("sidecar/*.ndjson.*")])
    batches = [
        *good,
        *sorted((data / "bad").iterdir()),
    ]
    write("notification", {path.name: path.read_bytes() for path in sorted((ROOT / "events").glob("*.json"))})
    write("batch", {path.name: path.read_bytes() for path in batches})
    texts = {path.name: gzip.decompress(path.read_bytes()) for path in good if path.suffix == ".gz"}
    settings = (0, 0b00101, 0b11111)
    write(
        "plan",
        {f"{name}-{choice}": bytes([choice]) + text for name, text in texts.items() for choice in settings},
    )


def write(target: str, inputs: dict[str, bytes]) -> None:
    """Writes the inputs of one target."""
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in inputs.items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
