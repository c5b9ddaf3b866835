"""Losses, metrics and the named outputs of exported models."""
