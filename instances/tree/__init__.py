"""The tree of instances: shape, numbers, statuses and reads."""
