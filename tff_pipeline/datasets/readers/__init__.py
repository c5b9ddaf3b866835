"""Reads file formats, each in a module that knows no data set."""
