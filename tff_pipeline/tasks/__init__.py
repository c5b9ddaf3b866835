"""What can be learned: data on clients, a model, a loss and metrics."""
