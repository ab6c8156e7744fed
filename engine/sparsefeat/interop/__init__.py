"""Makes stores available to other libraries and file formats."""
