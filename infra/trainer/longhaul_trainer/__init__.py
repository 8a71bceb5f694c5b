"""The training container of Longhaul: train, evaluate and export Llama models."""
