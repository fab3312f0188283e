"""Nights of results: every cell's series, and where it changed. Nothing here measures."""
