"""The published figures of algorithms, trained and measured anew."""
