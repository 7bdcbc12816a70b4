"""What is done with decisions once they are made: recorded, proven, replayed."""
