"""Bridges to reinforcement-learning libraries. Each is imported by name, so that none is needed by the others."""
