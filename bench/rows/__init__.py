"""Rows: their columns, what may stand in them, and the files that keep them."""
