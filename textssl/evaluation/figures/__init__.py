"""Arithmetic on vectors, probabilities and scores: figures with their intervals. Reads no files."""
