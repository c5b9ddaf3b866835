"""Pretrained transformers: read from others' files, converted to a base."""
