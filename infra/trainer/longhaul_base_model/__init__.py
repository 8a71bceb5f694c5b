"""Maintainers' tools: how the small base model that ships with the project is made. Not part of the container."""
