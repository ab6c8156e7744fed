"""Pages and pictures of what is in a network or a store."""
