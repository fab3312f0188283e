"""Accelerators: their facts, which of them a cell gets, and what it does to them."""
