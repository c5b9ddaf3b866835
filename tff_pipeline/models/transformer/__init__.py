"""Transformers: decoders and encoders, from a checkpoint or from nothing."""
