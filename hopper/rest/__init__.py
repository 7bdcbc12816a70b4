"""The parts that all views of the REST interface share."""
