"""``python -m bench.readme``: rewrites the tables in README.md."""

from __future__ import annotations

import sys

from bench.errors import EXIT_OK, EXIT_USAGE, UsageError
from bench.readme.tables import ROOT, SECTIONS, committed, filled


def main() -> int:
    page = ROOT / "README.md"
    try:
        rows = committed(ROOT / "results")
        text = filled(page.read_text(encoding="utf-8"), {k: f(rows) for k, f in SECTIONS.items()})
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    page.write_text(text, encoding="utf-8")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
