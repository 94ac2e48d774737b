"""The kinds of tasks that a suite can hold, one file a kind."""
