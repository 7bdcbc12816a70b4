"""Every promise about races, tried with real processes."""
