"""Search algorithms for `nb201_env` and the harness that compares them."""
