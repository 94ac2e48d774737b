"""Backbones, heads and document isolation on top of transformers. No objective, no data."""
