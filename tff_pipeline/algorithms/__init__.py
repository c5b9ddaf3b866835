"""`tff.learning` processes, and the optimizers they are made with."""
