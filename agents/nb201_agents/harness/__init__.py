"""Running agents many times, and reading, reducing and showing what came of it."""
