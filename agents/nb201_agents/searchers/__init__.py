"""Algorithms that are asked for a cell and told what it is worth, one file each."""
