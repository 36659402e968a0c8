"""The config file: its vocabulary, its validation, and the study it resolves to."""
