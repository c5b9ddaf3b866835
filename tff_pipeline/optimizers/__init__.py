"""Optimizers of clients and of the server."""
