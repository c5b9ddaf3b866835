"""Carries out the commands of `tff-pipeline`; the scripts call the same."""
