"""How the tables came to be what they are: Alembic's revisions, one in a module each, never changed once released.

`tesela.store.schema` runs them in a transaction; there is no alembic.ini and no env.py.
"""

REVISIONS = ("0001", "0002")
"""All that this version knows, the oldest first: a start need not load Alembic to see that nothing is to be done."""
