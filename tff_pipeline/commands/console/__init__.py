"""Holds the commands of `tff-pipeline`, a module each."""
