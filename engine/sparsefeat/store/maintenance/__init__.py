"""What is done with a store that is there: verify, compact, merge, remove, vacuum."""
