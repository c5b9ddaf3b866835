"""Pretrained transformers as others store them: names, readers, writers."""
