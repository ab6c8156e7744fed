"""Pages and images that show feature maps and the contents of a store."""
