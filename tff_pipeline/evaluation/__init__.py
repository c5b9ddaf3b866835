"""Evaluation of a model: on the central test set and client by client."""
