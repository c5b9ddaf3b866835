"""Averages what only the holder of a secret key can read."""
