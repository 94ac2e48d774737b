"""A configuration becomes objects: run folder, data sets, backbone, trainer, in-loop tasks. Commands call it."""
