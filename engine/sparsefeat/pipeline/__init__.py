"""From images to rows: the extractor and the extraction run."""
