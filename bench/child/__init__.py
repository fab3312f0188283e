"""One worker as a process: where it runs, what it is kept from, how it is talked to and ended."""
