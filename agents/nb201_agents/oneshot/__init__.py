"""Weight sharing: one network that holds all cells, and the methods that search it."""
