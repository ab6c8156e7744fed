"""A whole store: its log of snapshots, reading it, appending to it."""
