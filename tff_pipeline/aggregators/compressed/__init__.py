"""Codes that turn a client's update into few bytes, and back."""
