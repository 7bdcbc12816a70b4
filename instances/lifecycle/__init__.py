"""The lifecycle of instances (R2, R5): actions, the close-out of a run, previews."""
