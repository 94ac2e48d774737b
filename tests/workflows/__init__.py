"""Mirror of textssl/workflows."""
