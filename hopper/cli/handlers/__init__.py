"""The commands: they turn arguments into API calls and return data. They print nothing."""
