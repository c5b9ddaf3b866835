"""Whole files on any file system: written entirely or not at all."""
