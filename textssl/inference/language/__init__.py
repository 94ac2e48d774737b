"""A model as a model of language: how likely a text is, what stands in a gap, what comes next."""
