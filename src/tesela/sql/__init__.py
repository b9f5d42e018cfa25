"""SQL over the user's tables, with models in it.  Nothing here is loaded by a process that answers queries."""
