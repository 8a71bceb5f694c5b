"""Checkpoints: what is saved and when, who may commit, how one is read back."""
