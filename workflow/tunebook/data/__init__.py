"""Data sets: read, rendered, compared, split; and where models and data come from."""
