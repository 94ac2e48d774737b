"""Encoder-decoders over packed rows: documents kept apart on both sides, stock folders. No objective, no data."""
