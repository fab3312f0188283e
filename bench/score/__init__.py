"""Scoring: what the documents say, what was measured, and both together; docs/scoring.md."""

TRAIN, SERVE, WHOLE = "train", "serve", "end-to-end"
TASKS = (TRAIN, SERVE, WHOLE)
"""Rankings that are kept apart: a runtime is not a training framework."""

ASKED = "asked"
"""In the place of a task: rows of the workload ``capability``, which belong to none alone."""
