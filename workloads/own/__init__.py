"""Data and weights that a user brings: what may be said of them, and how they are read.

Parent half. Files are data only: nothing in them is executed.
"""
