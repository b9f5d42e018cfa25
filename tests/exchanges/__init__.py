"""Exchanges with providers as files: what we are asked, what we send, what comes back, what we answer."""
