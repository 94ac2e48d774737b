"""What people read of `textssl explore`: terminal tables, and a page with a map of the texts."""
