"""Reads data sets, one module each, and assigns their examples to clients."""
