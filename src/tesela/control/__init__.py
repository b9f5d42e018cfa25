"""The handlers under /api/2.0 and the small documents that clients ask for while starting."""
