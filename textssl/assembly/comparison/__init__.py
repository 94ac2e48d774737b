"""Objectives side by side at an equal budget: which runs there are, how one is trained, what is measured of it."""
