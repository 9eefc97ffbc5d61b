"""The application of the cases in which no two requests are alike, for mreactor and as WSGI.

Both forms do the same work (`work.py`) and give the same bodies. This directory's parent is put on Python's path, so
that a checkout of mreactor without this application can serve it too.
"""
