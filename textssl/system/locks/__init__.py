"""Who may write a result: one job at a time."""
