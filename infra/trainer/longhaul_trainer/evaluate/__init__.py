"""Evaluation jobs: prompts, generation, measures, one durable record per sample."""
