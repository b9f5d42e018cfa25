"""The unified form as bytes and values.  No I/O, no clock."""
