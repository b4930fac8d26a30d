"""`python -m nb201_env` is `nb201`."""

from nb201_env.cli import main

main()
