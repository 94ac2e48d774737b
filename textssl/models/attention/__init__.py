"""How tokens attend to each other: documents isolated in packed rows, and functions that transformers lacks."""
