"""What lies in the files of a store: documents, arrays, chunks, codecs."""
