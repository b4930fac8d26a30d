"""One file for each method of weight sharing."""
