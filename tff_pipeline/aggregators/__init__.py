"""`tff.aggregators` factories."""
