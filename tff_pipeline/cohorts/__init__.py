"""The clients of each round, and the examples they train on."""
