"""The ground that every view of the REST interface stands on."""
