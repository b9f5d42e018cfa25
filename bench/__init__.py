"""The bench: one command, one run, one table of what the gateway costs beside nginx and others.

Nothing here is imported by the product. It refuses to leave loopback, to run without an end, and to leave a
process behind. How to read the figures: bench/README.md.
"""
