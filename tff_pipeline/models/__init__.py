"""Keras model functions, one module a family.

Each returns a new, uncompiled model. It takes raw inputs and scales them in its
first layer, so that an exported model carries its scaling, and it ends in
logits or in numbers.
"""
