"""Samples -> micro-batches of a rank."""
