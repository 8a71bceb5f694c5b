"""The model: its forward pass and loss, its weights, its files."""
