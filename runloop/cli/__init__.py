"""`rlp`: the command line. Importing this package imports nothing else; see :mod:`runloop.cli.main` for the verbs."""
