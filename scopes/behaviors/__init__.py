"""One behaviour per scope; scope_behaviors.yaml says which, so that another can take its place."""
