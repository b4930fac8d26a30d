"""Searches in simulated time: what they see, what it costs, one at a time or many as arrays."""
