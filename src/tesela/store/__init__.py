"""What outlives a restart: the control plane's database."""
