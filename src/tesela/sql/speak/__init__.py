"""How each AI function asks its endpoint and reads the answer: pure."""
