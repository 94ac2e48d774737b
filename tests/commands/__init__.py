"""Mirror of textssl/commands."""
