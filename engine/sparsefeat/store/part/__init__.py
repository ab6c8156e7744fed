"""Writing and reading one part of a store."""
