"""Training and SFT jobs: from inputs through steps to the exported model."""
