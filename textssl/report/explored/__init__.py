"""The output of `textssl explore` for people: terminal tables, and a page with a map of the texts."""
