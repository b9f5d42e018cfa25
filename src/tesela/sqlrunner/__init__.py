"""The process that runs statements: the parts of SQL put together, and what they ask of the gateway.

It is apart from the gateway's workers because it loads what they must not pay for, and because all that a statement
knows (its limit, its answers under way, its progress) is then in one place.
"""
