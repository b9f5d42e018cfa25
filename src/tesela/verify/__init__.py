"""Does a server answer the official clients?  Calls as they make them, and the clients themselves where installed.

`outcome` and `clients/` need nothing but the standard library and the client under test, so that they also run inside
an environment that holds nothing else.
"""
