"""Many searches of one kind at once, as arrays."""
