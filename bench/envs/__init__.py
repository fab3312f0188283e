"""Environments: one per backend and device, built by uv from a hashed lock; or brought."""

from bench.envs.build import Env, brought, each, ensure, home, resolve
from bench.envs.states import State, states

__all__ = ["Env", "State", "brought", "each", "ensure", "home", "resolve", "states"]
