"""The tree of instances: its shape, its numbers, its statuses, and what is read from it."""
