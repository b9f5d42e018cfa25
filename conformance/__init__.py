"""The official clients, old and new, against one server: `python -m conformance` makes the table in the README."""
