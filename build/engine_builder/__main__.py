"""`python -m engine_builder` is the same as the `engine_builder` command."""

from engine_builder.cli import main

main()
