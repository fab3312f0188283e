"""Comparing what was measured: sides, ratios, intervals and verdicts. Nothing here measures."""
