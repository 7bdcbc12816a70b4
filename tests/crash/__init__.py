"""The crash laboratory: processes killed at every commit and at random, then what is left."""
