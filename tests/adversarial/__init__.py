"""Malformed and odd messages, as data: the bytes, what has to come of them, and why, with the RFC's section.

`table.CASES` holds them all. The modules beside it hold one chapter each.
"""
