"""Tracebacks begin at the application's first frame, and so do those of the causes."""

from pathlib import Path

import pytest

from mreactor import App, Request, Response
from mreactor.loading import load
from mreactor.logs.tracebacks import application_frames, format_error, summarize_error
from mreactor.testing import Client


def boom(request: Request) -> str:
    try:
        return str(1 // 0)
    except ZeroDivisionError as error:
        raise KeyError("lost") from error


def caught(run: object) -> BaseException:
    with pytest.raises(KeyError) as info:
        run()  # type: ignore[operator]
    return info.value


def test_the_frames_before_the_application_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    app.get("/", blocking=True)(boom)
    app.before(lambda request: None)
    Client(app).get("/")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is not None
    lines = format_error(record.exc_info[1]).splitlines()
    files = [line.split('"')[1] for line in lines if line.startswith("  File")]
    assert files == [__file__, __file__]
    assert lines[-1] == "KeyError: 'lost'"
    assert "The above exception was the direct cause of the following exception:" in lines


def test_the_frames_of_the_server_behind_the_application_stay() -> None:
    def wrong() -> None:
        try:
            Response("x", 99)
        except ValueError as error:
            raise KeyError("lost") from error

    assert "response.py" in format_error(caught(wrong))


def test_a_bad_return_value_leads_to_its_handler_alone(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    app.get("/")(lambda request: (1, 2))
    Client(app).get("/")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is not None
    text = format_error(record.exc_info[1])
    assert "It was returned by the handler" in text
    assert __file__ in text
    assert "  File" not in text


def test_without_a_frame_of_the_application_and_without_a_note_all_stay() -> None:
    with pytest.raises(ValueError) as info:
        eval(compile("Response('x', 99)", format_error.__code__.co_filename, "eval"), {"Response": Response})
    steps = info.value.__traceback__
    assert steps is not None
    assert "  File" in format_error(info.value.with_traceback(steps.tb_next))


def test_causes_that_form_a_circle_end() -> None:
    one, other = KeyError("one"), KeyError("other")
    one.__context__, other.__context__ = other, one
    assert "other" in format_error(one)


def test_the_application_s_frames() -> None:
    error = caught(lambda: boom(None))  # type: ignore[arg-type]
    assert error.__traceback__ is not None
    assert {frame.filename for frame in application_frames(error.__traceback__)} == {__file__}


def test_a_syntax_error_shows_its_own_place_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_one.py").write_text("def broken(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SyntaxError) as info:
        load("broken_one")
    lines = format_error(info.value).splitlines()
    shown = [line.split('"')[1] for line in lines if line.startswith("  File")]
    assert shown == [__file__, str(tmp_path / "broken_one.py")]
    assert summarize_error(info.value) == lines[-1] == "SyntaxError: invalid syntax"


def test_the_summary_has_neither_notes_nor_further_lines() -> None:
    error = TypeError("a\nb")
    error.add_note("It was here.")
    assert summarize_error(error) == "TypeError: a"
    assert summarize_error(KeyError()) == "KeyError"
