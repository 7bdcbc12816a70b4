"""Export and import: instances and tasks as lines of JSON."""
