"""The decisions of each scope. This room decides and writes no task."""
