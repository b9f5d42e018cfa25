"""The official clients themselves, one module each; run them with `python -m tesela.verify.clients`.

They are imported by name and never depended on: a client that is not installed is left out.
"""
