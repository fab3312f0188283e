"""A cell that serves a decoder, inside its worker: its steps are whole generations.

Worker half. Each token is on the host before the next is asked for, as where it is sent to a
reader at once.
"""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np

from bench import clock, generation, safetensors
from bench.contract import Batches, Cell, ParityError, Program
from bench.dims import DecoderDims
from bench.generation import NEW_TOKENS, Answers, Generating, Generation
from bench.worker.figures import Tokens
from bench.worker.session import Session
from workloads import flops

PERCENTILES = (50, 99)


class Generator(Session):
    """A session of a ``Generation``; latencies to and between tokens beside it."""

    program: Generation
    prompts: np.ndarray
    answers: Answers

    def warm_up(self, **limits: int) -> dict[str, Any]:
        self.first_ns: list[int] = []
        self.between_ns: list[int] = []
        reply = super().warm_up(**limits)
        self.first_ns, self.between_ns = [], []
        return reply

    def gate(self, *, seconds_left: float, steps: int) -> dict[str, Any]:
        """The first generation, against the reference's."""
        verdict = self._timed(
            "parity_s", lambda: generation.check(self.program, self.answers, self.cell)
        )
        self.row["parity_logits_err"] = verdict.logits_err
        self.row["tokens_equal"] = verdict.equal
        self.row["first_step_s"] = verdict.taken_ns / 1e9
        self.row["parity"] = "failed" if verdict.failures else "passed"
        self._note_new_settings()
        if verdict.failures:
            raise ParityError("; ".join(verdict.failures))
        return {}

    def run(self, *, blocks: int, discard: int) -> dict[str, Any]:
        """As a session's, but of what does not count no latencies are kept."""
        first, between = list(self.first_ns), list(self.between_ns)
        for _ in range(discard):
            self._timed("measure_s", self._step)
        self.first_ns, self.between_ns = first, between
        return super().run(blocks=blocks, discard=0)

    def finish(self) -> dict[str, Any]:
        self.row |= self._cache()
        reply = super().finish()
        for name, taken in (("ttft", self.first_ns), ("itl", self.between_ns)):
            for percent in PERCENTILES:
                self.row[f"{name}_ms_p{percent}"] = clock.percentile(taken, percent) / 1e6
        seconds = sum(self.between_ns) / 1e9
        self.row["decode_tokens_per_s"] = len(self.between_ns) * self.cell.batch / seconds
        return reply

    def _read(self) -> None:
        answers, dims = Answers.read(self.job.trace), self.cell.dims
        assert isinstance(dims, DecoderDims)
        self.answers = answers.of(self.cell.batch)
        self.prompts = safetensors.read(self.job.data)["test.ids"][self.answers.rows]
        self.batches = Batches([], [])
        generated = float(self.cell.batch * NEW_TOKENS)
        self.tokens = Tokens(padded=generated, real=generated)
        self.row["flops_per_sample"] = flops.per_generation(dims, NEW_TOKENS)

    def _build(self, cell: Cell, _batches: Batches) -> Program:
        found: Any = importlib.import_module(self.job.capabilities)
        module: Generating = found
        return module.start(cell, safetensors.read(self.job.weights), self.prompts)

    def _work(self) -> None:
        before = time.perf_counter_ns()
        self.program.prefill()
        self.program.tokens()
        now = time.perf_counter_ns()
        self.first_ns.append(now - before)
        for _ in range(NEW_TOKENS - 1):
            before = now
            self.program.decode()
            self.program.tokens()
            now = time.perf_counter_ns()
            self.between_ns.append(now - before)

    def _cache(self) -> dict[str, float]:
        """Bytes a token, as allocated; and as the layers and their heads need in that type."""
        dims = self.cell.dims
        assert isinstance(dims, DecoderDims)
        places = self.cell.batch * (self.prompts.shape[1] + NEW_TOKENS)
        held = self.program.cache()
        needed = 2 * dims.layers * dims.kv_heads * dims.head_width * held.itemsize
        return {
            "cache_bytes_per_token": held.nbytes / places,
            "cache_bytes_formula": needed,
        }
