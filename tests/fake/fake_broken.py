"""A backend whose import fails, as a half-installed framework's does."""

raise ImportError("libfake.so.1: cannot open shared object file")
