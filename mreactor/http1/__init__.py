"""HTTP/1.1 as bytes: grammar, messages, framing (RFC 9110, RFC 9112). No socket and no thread is known here."""
