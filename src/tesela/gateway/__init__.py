"""The data plane: from a socket to an upstream and back."""
