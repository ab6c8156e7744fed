"""What reads a store for other libraries."""
