"""What each scope decides; decides only, writes no task."""
