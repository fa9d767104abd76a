"""Named queries as functions, one file a subject."""
