"""What people read about a run: model cards, tables and pages, made from configurations, folders and figures."""
