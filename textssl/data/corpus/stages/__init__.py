"""A corpus prepared by many nodes: stages of independent tasks, which meet in files of a shared folder alone."""
