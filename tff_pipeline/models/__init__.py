"""Keras model functions, one module a family.

Each returns a new, uncompiled model that ends in logits and takes raw inputs:
scaling is its first layer, so that an exported model carries it.
"""
