"""Policies that were trained to search: what they see, how they decide, how they are trained, and their files."""
