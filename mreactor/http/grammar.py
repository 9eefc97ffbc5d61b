"""The grammar that all versions of HTTP share (RFC 9110)."""

# token = 1*tchar (RFC 9110 section 5.6.2)
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
