"""Forms as multipart/form-data, good, odd and hostile: each with its parts, or the status that refuses it.

The boundary is `B` unless a case says otherwise, and lines end with CR LF. The helpers write what a browser writes.
"""

from typing import NamedTuple

from mreactor.http.multipart import FormLimits

LIMITS = FormLimits(parts_max=8, head_bytes_max=300, name_chars_max=60, fields_bytes_max=200, memory_bytes_max=64)

# Name, file name, media type, content.
type Part = tuple[str, str | None, str, bytes]

TEXT, BINARY = "text/plain", "application/octet-stream"


class Form(NamedTuple):
    """A body, the parts that it holds or the status of its refusal, and its Content-Type."""

    name: str
    body: bytes
    expected: list[Part] | int
    content_type: str = "multipart/form-data; boundary=B"


def part(head: bytes, content: bytes = b"x", boundary: bytes = b"B") -> bytes:
    return b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, head, content)


def disposed(parameters: bytes, content: bytes = b"x") -> bytes:
    return part(b"Content-Disposition: form-data; " + parameters, content)


def field(name: bytes = b"a", content: bytes = b"x") -> bytes:
    return disposed(b'name="%b"' % name, content)


def file(content: bytes = b"x", filename: bytes = b"f.txt", kind: bytes = b"text/x") -> bytes:
    return part(
        b'Content-Disposition: form-data; name="a"; filename="%b"\r\nContent-Type: %b' % (filename, kind), content
    )


END = b"--B--\r\n"
A: Part = ("a", None, TEXT, b"x")


def only(form: bytes) -> bytes:
    return form + END


# --- Well-formed. ---

GOOD = [
    Form("no part", END, []),
    Form("no part and no line end", b"--B--", []),
    Form("one field", only(field()), [A]),
    Form("no line end behind the last delimiter", field() + b"--B--", [A]),
    Form("two fields", field() + only(field(b"b", b"y")), [A, ("b", None, TEXT, b"y")]),
    Form("a name twice", field() + only(field(b"a", b"y")), [A, ("a", None, TEXT, b"y")]),
    Form("an empty field", only(field(b"a", b"")), [("a", None, TEXT, b"")]),
    Form("an empty name", only(field(b"")), [("", None, TEXT, b"x")]),
    Form("a file", only(file()), [("a", "f.txt", "text/x", b"x")]),
    Form("an empty file", only(file(b"")), [("a", "f.txt", "text/x", b"")]),
    Form("no file chosen", only(file(b"", b"", b"application/octet-stream")), [("a", "", BINARY, b"")]),
    Form("a file without a type", only(disposed(b'name="a"; filename="f"')), [("a", "f", BINARY, b"x")]),
    Form("a field and a file", field() + only(file()), [A, ("a", "f.txt", "text/x", b"x")]),
    Form("as many parts as may be", field() * 8 + END, [A] * 8),
    Form("UTF-8 in a name", only(field("é€😀".encode())), [("é€😀", None, TEXT, b"x")]),
    Form("UTF-8 in a field", only(field(b"a", "é€😀".encode())), [("a", None, TEXT, "é€😀".encode())]),
    Form("UTF-8 in a file name", only(file(filename="é.txt".encode())), [("a", "é.txt", "text/x", b"x")]),
    Form("any bytes in a file", only(file(bytes(range(256)))), [("a", "f.txt", "text/x", bytes(range(256)))]),
    Form("a file past the bound of memory", only(file(b"y" * 500)), [("a", "f.txt", "text/x", b"y" * 500)]),
    Form("a file of exactly that bound", only(file(b"y" * 64)), [("a", "f.txt", "text/x", b"y" * 64)]),
    Form("a type with parameters", only(file(kind=b"Text/X; charset=utf-8")), [("a", "f.txt", "text/x", b"x")]),
    Form("a field with a type",
         only(part(b'Content-Disposition: form-data; name="a"\r\nContent-Type: application/json')),
         [("a", None, "application/json", b"x")]),
    Form("a preamble", b"for old readers\r\n" + only(field()), [A]),
    Form("an empty line first", b"\r\n" + only(field()), [A]),
    Form("an epilogue", only(field()) + b"and more\r\n--B\r\nnot a part", [A]),
    Form("spaces behind delimiters", b'--B  \t\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--B-- ', [A]),
    Form("names in other case", only(part(b"CONTENT-DISPOSITION: Form-Data; NAME=a")), [A]),
    Form("no white space", only(part(b'content-disposition:form-data;name="a"')), [A]),
    Form("much white space", only(part(b'Content-Disposition: \t form-data \t; \tname = "a" \t')), [A]),
    Form("a token as name", only(disposed(b"name=a")), [A]),
    Form("a semicolon at the end", only(disposed(b'name="a";')), [A]),
    Form("further parameters", only(disposed(b'name="a"; size=1; x="y z"')), [A]),
    Form("further fields", only(part(b'X-A: b\r\nContent-Disposition: form-data; name="a"\r\nX-B:')), [A]),
    Form("Content-Length in a part",
         only(part(b'Content-Length: 99\r\nContent-Disposition: form-data; name="a"')), [A]),
    Form("a longer boundary", field().replace(b"--B", b"--" + b"-" * 26 + b"7MA4Y") + b"--" + b"-" * 26 + b"7MA4Y--",
         [A], "multipart/form-data; boundary=" + "-" * 26 + "7MA4Y"),
    Form("a boundary of 70 characters", part(b'Content-Disposition: form-data; name="a"', boundary=b"x" * 70)
         + b"--" + b"x" * 70 + b"--", [A], "multipart/form-data; boundary=" + "x" * 70),
    Form("a quoted boundary", part(b'Content-Disposition: form-data; name="a"', boundary=b"a b:c") + b"--a b:c--",
         [A], 'multipart/form-data; boundary="a b:c"'),
    Form("a type in other case", only(field()), [A], "Multipart/Form-Data; Boundary=B"),
    Form("a charset beside the boundary", only(field()), [A], "multipart/form-data; charset=utf-8; boundary=B"),
    Form("a boundary of regular expression characters",
         part(b'Content-Disposition: form-data; name="a"', boundary=b".+?")
         + b"--.+?--", [A], 'multipart/form-data; boundary=".+?"'),
    Form("a part that ends with its head", b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n--B--',
         [("a", None, TEXT, b"")]),
    Form("two parts that end with their heads", b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n' * 2 + END,
         [("a", None, TEXT, b"")] * 2),
    *(Form(f"coding {coding.decode()}", only(part(b'Content-Disposition: form-data; name="a"\r\n'
      b"Content-Transfer-Encoding: " + coding)), [A]) for coding in (b"7bit", b"8BIT", b"binary", b"")),
]  # fmt: skip

# --- Content that looks like something else. ---

_NEAR = [
    b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r\n\n", b"\r\n\r\n", b"--", b"--C", b"-", b"\r\n-", b"\r\n--", b"\r\n--C",
    b"\r\n--b", b"\r\n--Bx", b"\r\n--B-", b"\r\n--B-x", b"\r\n--B\n", b"\r\n--B\rx", b"\n--B\r\n", b"\r--B\r\n",
    b"\r\n --B\r\n", b"\r\n- -B\r\n", b"\r\n--\r\nB", b"x\r\n--BB--\r\n", b"\r\n--B.\r\n", b"\r\n\r\n--Bx\r\n\r\n--By",
    b"\r\n--C\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\ny\r\n--C--\r\n", b"\r\n--B\x00\r\n",
    b"\r\n--B\x0b\r\n",
    b"\r\n--" + b"-" * 30, b"\r" * 40, b"\r\n" * 20, b"\r\n--B." * 20, b"-B--", b"- --B--\r\n", b"B", b"\0",
]  # fmt: skip

NEAR = [
    *(Form(f"content {number}: {content[:24]!r}", only(file(content)), [("a", "f.txt", "text/x", content)])
      for number, content in enumerate(_NEAR)),
    *(Form(f"content {number} amid others: {content[:24]!r}", only(file(b"x" + content + b"y")),
           [("a", "f.txt", "text/x", b"x" + content + b"y")]) for number, content in enumerate(_NEAR)),
]  # fmt: skip

# --- Names. ---


def named(name: str, parameters: bytes, filename: str | None, field_name: str = "a") -> Form:
    kind = TEXT if filename is None else BINARY
    return Form(name, only(disposed(parameters)), [(field_name, filename, kind, b"x")])


NAMES = [
    named("a quote as browsers send it", b'name="%22"', None, '"'),
    named("a line end as browsers send it", b'name="a%0D%0Ab"', None, "a\r\nb"),
    named("a percent sign is one", b'name="100%"', None, "100%"),
    named("other escapes are text", b'name="%41%2F"', None, "%41%2F"),
    named("an escaped quote", rb'name="\""', None, '"'),
    named("an escaped backslash", rb'name="\\"', None, "\\"),
    named("a backslash", rb'name="a\b"', None, r"a\b"),
    named("a semicolon in a name", b'name="a;b=c"', None, "a;b=c"),
    named("an empty file name", b'name="a"; filename=""', ""),
    named("a file name as a token", b"name=a; filename=f.txt", "f.txt"),
    named("a file name before the name", b'filename="f"; name="a"', "f"),
    named("a path", b'name="a"; filename="/etc/passwd"', "passwd"),
    named("a relative path", b'name="a"; filename="../../x"', "x"),
    named("a path of Windows", rb'name="a"; filename="C:\Users\x.txt"', "x.txt"),
    named("a path of Windows, escaped", rb'name="a"; filename="C:\\Users\\x.txt"', "x.txt"),
    named("a folder", b'name="a"; filename="x/"', ""),
    named("the folder itself", b'name="a"; filename="."', ""),
    named("the folder above", b'name="a"; filename=".."', ""),
    named("a hidden file", b'name="a"; filename=".profile"', ".profile"),
    named("a quote in a file name", b'name="a"; filename="a%22b"', 'a"b'),
    named("an extended file name alone", b"name=a; filename*=UTF-8''%e2%82%ac.txt", "€.txt"),
    named("an extended file name with a language", b"name=a; filename*=utf-8'de'x", "x"),
    named("an extended file name that is a path", b"name=a; filename*=UTF-8''..%2Fx", "x"),
    named("the plain file name counts", b"name=a; filename=f; filename*=UTF-8''other", "f"),
    named("the order does not matter", b"name=a; filename*=UTF-8''other; filename=f", "f"),
    named("a name as long as may be", b'name="%b"' % (b"n" * 60), None, "n" * 60),
]

# --- Malformed. ---

MALFORMED = [
    Form("nothing", b"", 400),
    Form("content that begins with a delimiter", only(file(b"--B")), 400),
    Form("a line end", b"\r\n", 400),
    Form("text", b"a=1&b=2", 400),
    Form("another boundary", field().replace(b"--B", b"--C") + b"--C--", 400),
    Form("no last delimiter", field(), 400),
    Form("half a last delimiter", field() + b"--B-", 400),
    Form("a delimiter at the end", field() + b"--B", 400),
    Form("a delimiter and its line end at the end", field() + b"--B\r\n", 400),
    Form("ends in a head", field() + b"--B\r\nContent-Disposition: form-data", 400),
    Form("ends behind a head", field() + b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n', 400),
    Form("ends in a part", b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nx', 400),
    Form("ends in the line end of a part", b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r', 400),
    Form("bare line feeds", only(field()).replace(b"\r\n", b"\n"), 400),
    Form("a bare line feed in a head", only(part(b'X: y\nContent-Disposition: form-data; name="a"')), 400),
    Form("a bare carriage return in a head", only(part(b'X: y\rContent-Disposition: form-data; name="a"')), 400),
    Form("a folded head", only(part(b'Content-Disposition: form-data;\r\n name="a"')), 400),
    Form("no head", b"--B\r\n\r\nx\r\n" + END, 400),
    Form("no head and no content", b"--B\r\n\r\n" + END, 400),
    Form("a head without Content-Disposition", only(part(b"Content-Type: text/plain")), 400),
    Form("an empty Content-Disposition", only(part(b"Content-Disposition:")), 400),
    Form("another disposition", only(part(b'Content-Disposition: attachment; name="a"')), 400),
    Form("no name", only(part(b"Content-Disposition: form-data")), 400),
    Form("a file without a name", only(disposed(b'filename="f"')), 400),
    Form("two names", only(disposed(b'name="a"; name="b"')), 400),
    Form("two names in other case", only(disposed(b'name="a"; Name="b"')), 400),
    Form("two file names", only(disposed(b'name="a"; filename="b"; filename="c"')), 400),
    Form("two dispositions",
         only(part(b"Content-Disposition: form-data; name=a\r\ncontent-disposition: form-data; name=b")),
         400),
    Form("two types",
         only(part(b"Content-Disposition: form-data; name=a\r\nContent-Type: a/b\r\nContent-Type: c/d")), 400),
    Form("no colon", only(part(b"Content-Disposition form-data; name=a")), 400),
    Form("space before the colon", only(part(b"Content-Disposition : form-data; name=a")), 400),
    Form("a name that is no token", only(part(b"Content@Disposition: form-data; name=a")), 400),
    Form("an open quote", only(disposed(b'name="a')), 400),
    Form("a quote too many", only(disposed(b'name="a""')), 400),
    Form("text behind a quote", only(disposed(b'name="a"b')), 400),
    Form("an escape at the end", only(disposed(b'name="a\\"')), 400),
    Form("no value", only(disposed(b"name=")), 400),
    Form("no equals sign", only(disposed(b"name")), 400),
    Form("a comma for a semicolon", only(part(b'Content-Disposition: form-data, name="a"')), 400),
    Form("NUL in a head", only(disposed(b'name="a\0"')), 400),
    Form("NUL in a file name", only(disposed(b"name=a; filename*=UTF-8''a%00b")), 400),
    Form("a name that is not UTF-8", only(field(b"\xff")), 400),
    Form("a file name that is not UTF-8", only(file(filename=b"\xe9")), 400),
    Form("a field that is not UTF-8", only(field(b"a", b"\xff")), 400),
    Form("a field of half a character", only(field(b"a", b"\xc3")), 400),
    Form("an extended file name of another charset", only(disposed(b"name=a; filename*=iso-8859-1''x")), 400),
    Form("an extended file name that is not UTF-8", only(disposed(b"name=a; filename*=UTF-8''%ff")), 400),
    Form("an extended file name without quotes", only(disposed(b"name=a; filename*=UTF-8")), 400),
    Form("an extended file name with one quote", only(disposed(b"name=a; filename*=UTF-8'x")), 400),
    Form("a space behind a delimiter, then text", b"--B x\r\n" + field(), 400),
    Form("endless spaces behind a delimiter", b"--B" + b" " * 1000 + b"\r\n", 400),
    Form("endless tabs behind a delimiter that never ends", b"--B" + b"\t" * 1000, 400),
    Form("base64", only(part(b"Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64")), 415),
    Form("quoted-printable", only(part(b"Content-Disposition: form-data; name=a\r\n"
         b"content-transfer-encoding: Quoted-Printable")), 415),
]  # fmt: skip

# --- Too large. ---

LARGE = [
    Form("one part too many", field() * 9 + END, 413),
    Form("very many parts", field(b"", b"") * 500 + END, 413),
    Form("a name too long", only(field(b"n" * 61)), 413),
    Form("a file name too long", only(file(filename=b"n" * 61)), 413),
    Form("a giant name", only(field(b"n" * 10_000)), 413),
    Form(
        "a giant field in a head",
        only(part(b"X: " + b"y" * 400 + b'\r\nContent-Disposition: form-data; name="a"')),
        413,
    ),
    Form("many fields in a head", only(part(b"X: y\r\n" * 60 + b'Content-Disposition: form-data; name="a"')), 413),
    Form("a head without an end", b"--B\r\n" + b"X: y\r\n" * 200, 413),
    Form("a head without a line end", b"--B\r\n" + b"x" * 1000, 413),
    Form("a field too large", only(field(b"a", b"x" * 200)), 413),
    Form("fields too large together", field(b"a", b"x" * 100) + only(field(b"b", b"x" * 100)), 413),
    Form("names count as well", field(b"n" * 60, b"x" * 60) + only(field(b"n" * 60, b"x" * 60)), 413),
    Form("a field without an end", field(b"a", b"x" * 1000), 413),
]

# --- Content-Types. ---

_TYPES: list[tuple[str, str, int]] = [
    ("no type", "", 415),
    ("a form of the other kind", "application/x-www-form-urlencoded", 415),
    ("another multipart", "multipart/mixed; boundary=B", 415),
    ("no boundary", "multipart/form-data", 400),
    ("an empty boundary", 'multipart/form-data; boundary=""', 400),
    ("a boundary that ends with a space", 'multipart/form-data; boundary="B "', 400),
    ("a boundary of 71 characters", "multipart/form-data; boundary=" + "x" * 71, 400),
    ("a boundary with a line end", 'multipart/form-data; boundary="B\r\n"', 400),
    ("a boundary beyond ASCII", 'multipart/form-data; boundary="\xe9"', 400),
    ("a boundary with odd characters", 'multipart/form-data; boundary="B;*"', 400),
    ("two boundaries", "multipart/form-data; boundary=B; boundary=C", 400),
    ("an open quote around a boundary", 'multipart/form-data; boundary="B', 400),
    ("text behind the type", "multipart/form-data B; boundary=B", 400),
    ("no type but a boundary", "; boundary=B", 400),
]

TYPES = [Form(name, only(field()), status, content_type) for name, content_type, status in _TYPES]

FORMS = [*GOOD, *NEAR, *NAMES, *MALFORMED, *LARGE, *TYPES]
