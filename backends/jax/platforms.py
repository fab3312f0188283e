"""Which kinds of device JAX has, in the core's words. Imports JAX alone: Keras asks it, too."""

from __future__ import annotations

import jax


def kinds() -> list[str]:
    """Every kind that starts; asking starts them. RuntimeError where one that was named does not.

    ``JAX_PLATFORMS`` names them (backends/registry.py); JAX itself calls both GPU kinds gpu.
    """
    named = (jax.config.jax_platforms or "").split(",")
    found = []
    for name in filter(None, named) if any(named) else (jax.default_backend(),):
        first = jax.devices(name)[0]
        if first.platform == "gpu":
            found.append("rocm" if "rocm" in first.client.platform_version else "cuda")
        else:
            found.append(first.platform)
    return found


def memory_stats() -> list[dict[str, int]]:
    """What XLA counts of each device's memory; of a CPU's it counts nothing."""
    stats = [one.memory_stats() for one in jax.devices()]
    return [one for one in stats if one]
