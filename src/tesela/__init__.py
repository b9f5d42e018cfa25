"""Tesela: self-hosted model serving over local and external models."""

__version__ = "0.1.0"
