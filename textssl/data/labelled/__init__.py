"""Labelled sets and given pairs: read, checked and split."""
