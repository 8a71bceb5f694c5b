"""The object store: the client, what its answers mean, large files, things named by digest."""
