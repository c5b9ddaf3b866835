"""Tasks: federated data with a model, a loss and metrics that fit them."""
