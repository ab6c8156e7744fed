"""Pages and images of what is in a network or a store."""
