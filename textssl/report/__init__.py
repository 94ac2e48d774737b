"""What people read about a run: the card of a model folder. It reads configurations, folders and figures."""
