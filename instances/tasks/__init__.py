"""Tasks: how each is created, changed, claimed, worked on and ended."""
