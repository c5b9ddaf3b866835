"""Writes trained models in the formats that others serve, and checks them."""
