"""What generative objectives put beside a backbone: a generator, a detector, a decoder of vectors. No objectives."""
