"""Statements as clients see them: asked for, waited for, read in chunks, canceled, forgotten."""
