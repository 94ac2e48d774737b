"""The language of a text, and where its sentences begin."""
