"""The requests that a statement's rows are answered by: limits, repeats, and the store of answers."""
