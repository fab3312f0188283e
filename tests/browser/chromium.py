"""Where the browser is: Debian's chromium, which ``make test`` installs where it may.

``python -m tests.browser.chromium`` installs it; without the right to, it says what is missing and
the tests that need it are skipped with that reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> str | None:
    """The path of a browser that Playwright can drive."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def lacking() -> str:
    """What to do about it, in words."""
    return "no chromium here: apt-get install chromium (as root), or put one on PATH"


def install() -> None:
    """From Debian's packages, as root; elsewhere nothing happens."""
    if find() or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        subprocess.run(
            ["apt-get", "-qq", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
            check=False,
        )


if __name__ == "__main__":
    install()
    print(f"browser: {find()}" if find() else lacking(), file=sys.stderr)
