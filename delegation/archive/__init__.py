"""The archive: old families of ended tasks go to files, with all that belongs to them."""
