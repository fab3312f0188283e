"""What a framework's launcher starts, once per process: the worker."""

import sys

from bench.worker.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
