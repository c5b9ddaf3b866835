"""Aggregators with differential privacy, and the noise that they draw."""
