"""Assigns examples to clients: partitions, splits, hold-outs, augmentation."""
