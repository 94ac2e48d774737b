"""The trainer and what it stands on: optimizers, schedules, checkpoints, gradient caching, tracking.

Knows `objectives.base` and nothing of any single method.
"""
