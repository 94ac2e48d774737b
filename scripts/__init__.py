"""Scripts around textssl; a package, so that no other `scripts` on the path comes before it."""
