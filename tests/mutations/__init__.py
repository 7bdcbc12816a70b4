"""Faults put in on purpose, one at a time, to see that the tests notice: `make mutations`."""
