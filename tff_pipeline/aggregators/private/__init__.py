"""Averages with differential privacy, and draws the noise."""
