"""The API reference is complete and true: names, signatures and types are those of the code, and its samples run."""

import ast
import builtins
import collections.abc
import dataclasses
import importlib
import inspect
import re
import types
import typing
from pathlib import Path
from typing import Any

import pytest

import mreactor
from mreactor import HTTPError, Request, Server, StaticFiles, UploadedFile
from mreactor.app import StaticOptions, check_root
from mreactor.http.lazy import Lazy
from mreactor.testing import Client, ClientResponse, StreamedResponse, make_request

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "reference.md").read_text()


def return_type(member: property | Lazy[Any]) -> Any:
    function = member.fget if isinstance(member, property) else member.func
    assert function is not None
    return inspect.signature(function).return_annotation


# What the page describes: the public names, and the types that they lead to.
NAMES: dict[str, Any] = {name: getattr(mreactor, name) for name in mreactor.__all__} | {
    "Client": Client,
    "ClientResponse": ClientResponse,
    "StreamedResponse": StreamedResponse,
    "StaticOptions": StaticOptions,
    "check_root": check_root,
    "make_request": make_request,
}
CLASSES = {name: value for name, value in NAMES.items() if isinstance(value, type)}

# Attributes that an instance has beside its properties, as `__init__` sets them.
ATTRIBUTES: dict[type, set[str]] = {
    mreactor.App: {"name"},
    Request: {"head", "body", "peer", "id"},
    HTTPError: {"status", "reason", "headers"},
    Server: {"config"},
    StaticFiles: {"prefix"},
    UploadedFile: {"filename", "content_type", "size", "file"},
    ClientResponse: {"status", "headers", "body"},
    StreamedResponse: {"status", "headers", "parts"},
}


# --- Reading the page. ---


def headings(level: str) -> list[str]:
    return re.findall(rf"^{level} `([\w.]+)`$", TEXT, re.MULTILINE)


def section(name: str) -> str:
    """Return the text below the heading of a name, up to the next heading."""
    found = re.search(rf"^##+ `{re.escape(name)}`\n(.*?)(?=^##+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def table(name: str) -> dict[str, str]:
    """Return the attributes that the table of a class lists, each with its type."""
    text = section(name).replace("\\|", "|")
    return dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", text, re.MULTILINE))


# --- Reading the code. ---


def members(cls: type) -> dict[str, Any]:
    """Return the public methods and properties that a class itself defines."""
    kinds = (types.FunctionType, property, Lazy)
    return {name: value for name, value in vars(cls).items() if name[0] != "_" and isinstance(value, kinds)}


def methods() -> dict[str, Any]:
    """Return all methods to describe, by `Class.method`."""
    return {
        f"{cls_name}.{name}": value
        for cls_name, cls in CLASSES.items()
        for name, value in members(cls).items()
        if isinstance(value, types.FunctionType)
    }


def bare(annotation: Any) -> str:
    """Return a type as people write it, without the modules it comes from."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text).replace("datetime.datetime", "datetime")
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text)


def render(name: str, value: Any) -> str:
    """Return the signature of a class, function or method as the page shows it."""
    if isinstance(value, type) and issubclass(value, Exception) and "__init__" not in vars(value):
        return f"class {name}({value.__bases__[0].__name__})"
    signature = inspect.signature(value)
    parameters = [
        one.replace(annotation=Bare(bare(one.annotation)), default=default(value, one))
        for one in signature.parameters.values()
        if one.name != "self"
    ]
    returned = inspect.Signature.empty if isinstance(value, type) else Bare(bare(signature.return_annotation))
    return name + str(signature.replace(parameters=parameters, return_annotation=returned))


class Bare:
    """Text that stands for itself in a printed signature."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def default(value: Any, parameter: inspect.Parameter) -> Any:
    """Return the default of a parameter; for a field made by a factory, the call of the factory."""
    if not dataclasses.is_dataclass(value):
        return parameter.default
    (field,) = (field for field in dataclasses.fields(value) if field.name == parameter.name)
    if field.default_factory is dataclasses.MISSING:
        return parameter.default
    return Bare(f"{getattr(field.default_factory, '__name__', '?')}()")


def normalised(signature: str) -> str:
    """Return a signature in one layout, whatever its line breaks and quotes."""
    if signature.startswith("class "):
        return signature.strip()
    name, _, rest = signature.partition("(")
    return name + ast.unparse(ast.parse(f"def f({rest.strip()}: ..."))


# --- The tests. ---


def test_describes_the_public_names_and_no_others() -> None:
    assert sorted(headings("##")) == sorted(NAMES)


def test_lists_each_public_name_of_the_package() -> None:
    introduction = TEXT.partition("\n## ")[0]
    assert set(re.findall(r"^\| \[`(\w+)`\]", introduction, re.MULTILINE)) == NAMES.keys()


def test_describes_each_method_and_no_others() -> None:
    assert sorted(headings("###")) == sorted(methods())


@pytest.mark.parametrize("name", CLASSES)
def test_lists_each_property_and_attribute_and_no_others(name: str) -> None:
    cls = CLASSES[name]
    properties = {key for key, value in members(cls).items() if not isinstance(value, types.FunctionType)}
    assert table(name).keys() == properties | ATTRIBUTES.get(cls, set())


@pytest.mark.parametrize("name", CLASSES)
def test_the_types_of_properties_are_those_of_the_code(name: str) -> None:
    shown = table(name)
    for key, value in members(CLASSES[name]).items():
        if not isinstance(value, types.FunctionType):
            assert shown[key] == bare(return_type(value))


def test_the_attributes_exist() -> None:
    head = inspect.signature(Request).parameters["head"].annotation()
    request = Request(head, b"", ("127.0.0.1", 1))
    error = HTTPError(404)
    server = Server(mreactor.Config(), mreactor.App())
    files = StaticFiles(ROOT / "static")
    upload = make_request("POST", files={"a": ("b", b"c")}).files["a"]
    response = Client(mreactor.App()).get("/")
    streamed = StreamedResponse(200, response.headers, iter(()))
    for instance in (mreactor.App(), request, error, server, files, upload, response, streamed):
        for name in ATTRIBUTES[type(instance)]:
            assert hasattr(instance, name)


@pytest.mark.parametrize("name", [*NAMES, *methods()])
def test_the_signature_is_that_of_the_code(name: str) -> None:
    (shown,) = blocks(section(name), "py")
    value = (NAMES | methods())[name]
    if isinstance(value, str):
        assert shown == f"{name}: str\n"
    else:
        assert normalised(shown) == normalised(render(name, value))


@pytest.mark.parametrize("name", [name for name in headings("##+") if blocks(section(name), "python")])
def test_its_samples_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # samples name the directory static
    for sample in blocks(section(name), "python"):
        exec(compile(sample, name, "exec"), {"__name__": "sample"})


def test_each_type_can_be_imported_as_told() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| `(mreactor[\w.]*)` \|", TEXT, re.MULTILINE)
    told = {name: module for names, module in rows for name in re.findall(r"\w+", names)}
    assert told
    for name, module in told.items():
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
    signatures = "".join(blocks(TEXT, "py")) + " ".join(kind for name in CLASSES for kind in table(name).values())
    # Without texts, such as the defaults of parameters.
    used = set(re.findall(r"\b[A-Z][a-z]\w+", re.sub(r'"[^"]*"', "", signatures)))
    standard = vars(builtins).keys() | vars(typing).keys() | vars(collections.abc).keys() | {"PathLike"}
    assert used - standard - NAMES.keys() == told.keys()


def test_each_name_appears_once_in_the_first_table() -> None:
    names = re.findall(r"^\| \[`(\w+)`\]", TEXT, re.MULTILINE)
    assert len(names) == len(set(names))


def test_each_name_has_a_sample() -> None:
    whole = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    without = [part.splitlines()[0] for part in whole if not blocks(part, "python")]
    assert without == []
