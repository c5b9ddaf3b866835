"""Writes whole files on any file system: entirely or not at all."""
