"""The configuration: the shipped YAML files, and reading, checking and swapping YAML files."""
