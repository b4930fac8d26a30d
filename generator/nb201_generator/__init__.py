"""Where tables come from: the networks of NAS-Bench-201 and their training."""
