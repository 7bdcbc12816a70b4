"""Data in, text out: what people and scripts read."""
