"""The one folder that computes: MLX models, their caches and the sampler. Importing it doesn't import MLX."""
