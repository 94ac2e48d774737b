"""Losses as pure functions: tensors in, sums or means in nats out. They know no model and no objective."""
