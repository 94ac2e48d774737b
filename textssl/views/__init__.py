"""What the model is shown of a sample: pure numpy, (tokens, rng) -> view. No torch, no files."""
