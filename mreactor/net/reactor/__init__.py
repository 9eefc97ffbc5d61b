"""Reactors: threads that own sockets and drive connections. One module a way of waiting."""
