"""A model folder as a function: texts in, vectors, log-probabilities or labels out. Trains nothing."""
