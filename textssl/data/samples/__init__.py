"""Named sample data: the catalogue, the wheels that it comes from, and the cache."""
