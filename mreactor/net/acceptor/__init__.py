"""Acceptors: the thread that accepts connections. One module a way of accepting."""
