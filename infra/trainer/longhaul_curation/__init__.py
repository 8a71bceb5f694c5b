"""What curation has Python do, with the standard library alone."""
