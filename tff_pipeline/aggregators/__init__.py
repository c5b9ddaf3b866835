"""Aggregators: factories of `tff.aggregators`, each with a description."""
