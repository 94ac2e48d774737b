"""Named figures from frozen features (texts -> vectors) or language models (ids -> log-probabilities).

Trains no backbone.
"""
