"""The engine: models, tokens, batches, losses, training, generation, metrics."""
