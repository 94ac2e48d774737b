"""What people read about a comparison: rows of a table, CSV, and a page that needs no network."""
