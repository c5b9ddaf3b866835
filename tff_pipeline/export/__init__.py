"""Trained models in the forms that others serve."""
