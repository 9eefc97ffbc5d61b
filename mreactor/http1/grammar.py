"""The grammar of requests as named patterns, each beside its ABNF (RFC 9110, RFC 9112, RFC 3986).

Patterns use possessive quantifiers, so none can backtrack: their cost is linear in the input.
"""

import re

from ..http import TOKEN

# field-line = field-name ":" OWS field-value OWS (RFC 9112 section 5). Values hold VCHAR, obs-text, SP and HTAB.
FIELD_LINE = re.compile(rb"(%b):[\t ]*+([\t\x20-\x7e\x80-\xff]*+)" % TOKEN)

# A field that says nothing about framing: its name is none of those that `framing.read_framing` reads.
PLAIN_FIELD_LINE = re.compile(
    rb"(?!(?i:connection|content-length|expect|host|transfer-encoding):)%b:[\t\x20-\x7e\x80-\xff]*+" % TOKEN
)

# HTTP-version = "HTTP/" DIGIT "." DIGIT (RFC 9112 section 2.3)
# request-line = method SP request-target SP HTTP-version (RFC 9112 section 3)
REQUEST_LINE = re.compile(rb"(%b) ([\x21-\x7e]++) HTTP/([0-9])\.([0-9])" % TOKEN)

# pchar = unreserved / pct-encoded / sub-delims / ":" / "@" (RFC 3986 section 3.3). Browsers do not encode some further
# characters (the URL standard's percent-encode sets): [ ] | in paths, and also { } \ ^ ` in queries, and a % that
# encodes nothing, as in `?q=100%`. They can neither split a line nor leave the target, so they are accepted. In a path
# such a % is refused: two programs could decode it to two paths.
_PATH = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]|]|%[0-9A-Fa-f]{2})*+"
_QUERY = rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]|{}\\^`%]*+"

# uri-host = IP-literal / IPv4address / reg-name; port = *DIGIT (RFC 3986 section 3.2)
_IP_LITERAL = rb"\[(?:[0-9A-Fa-f:.]++|v[0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+,;=:]++)\]"
_REG_NAME = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})++"
_HOST = rb"(?:%b|%b)" % (_IP_LITERAL, _REG_NAME)
_PORT = rb"(?::[0-9]{0,5}+)?+"

# Host = uri-host [ ":" port ] (RFC 9110 section 7.2); an http URI with an empty host is invalid (section 4.2.1)
HOST = re.compile(rb"(%b)(%b)" % (_HOST, _PORT))

# origin-form = absolute-path [ "?" query ] (RFC 9112 section 3.2.1)
ORIGIN_FORM = re.compile(rb"(/%b)(?:\?(%b))?+" % (_PATH, _QUERY))

# absolute-form = absolute-URI (RFC 9112 section 3.2.2), with a scheme of HTTP
ABSOLUTE_FORM = re.compile(rb"(?i:https?)://(%b%b)(/%b)?+(?:\?(%b))?+" % (_HOST, _PORT, _PATH, _QUERY))

# The request line of nearly every request, as text: a method in capitals, a target in origin-form, HTTP/1.
PLAIN_REQUEST_LINE = re.compile(
    (rb"([A-Z]++) ((/%b)(?:\?(%b))?+) HTTP/1\.([0-9])" % (_PATH, _QUERY)).decode("ascii"), re.ASCII
)

# Content-Length = 1*DIGIT (RFC 9110 section 8.6). 18 digits are an exabyte. Longer numbers are refused unread, because
# converting thousands of digits takes too long.
CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}+")

# chunk = chunk-size [ chunk-ext ] CRLF (RFC 9112 section 7.1); 15 hex digits stay far inside 64 bits
# chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS ( token / quoted-string ) ] )
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15}+)(?:[\t ]*+;[\t ]*+%b(?:[\t ]*+=[\t ]*+(?:%b|%b))?+)*+" % (TOKEN, TOKEN, _QUOTED)
)

# Bytes that no line of a head may hold: control bytes other than HTAB, and a CR that is not the last byte.
FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

IS_TOKEN = re.compile(TOKEN)
