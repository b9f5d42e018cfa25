"""How each provider speaks each task: pure translations, no sockets."""
