"""Algorithms that are handed an environment and drive it themselves."""
