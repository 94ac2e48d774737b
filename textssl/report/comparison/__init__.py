"""What people read of a comparison: rows of a table, CSV, and a page that needs no network."""
