"""Curated datasets as a trainer reads them."""
