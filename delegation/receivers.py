"""The listeners for what `instances` says (R9, R17, R5)."""
