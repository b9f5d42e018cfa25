"""Talking to a server: what the command line and the Python API share."""
