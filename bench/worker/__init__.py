"""The worker half: what runs in a backend's own environment, on stdlib and numpy."""
