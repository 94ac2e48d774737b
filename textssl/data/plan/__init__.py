"""Which samples make a global step: a pure function of corpus, seed and step."""
