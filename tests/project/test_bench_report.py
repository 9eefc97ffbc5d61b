"""What the benchmarks compute, report, record and draw."""

import argparse
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from bench import beside_nginx, c10k, cases, chart, machine, ratios, report, results, scaling, table
from bench.cases import Goal
from bench.chart import Bar, Panel, Tone
from bench.heat import Heat, Lane
from bench.load import Errors, Load
from bench.ratios import Ratio, pairwise
from tests.support.bench import heat_of, report_of, sample


class TestRatios:
    def test_ratios_are_taken_within_rounds_before_the_median(self) -> None:
        # The machine slows down threefold from round to round: medians alone would compare different rounds.
        assert pairwise([90, 33, 10], [100, 30, 10]) == Ratio(1.0, 0.9, 1.1)

    def test_unequal_lengths_compare_the_rounds_that_both_have(self) -> None:
        assert pairwise([10, 20], [10]) == Ratio(1.0, 1.0, 1.0)

    def test_no_common_round_gives_no_ratio(self) -> None:
        assert pairwise([], [1.0]) is None
        assert pairwise([1.0], [0.0]) is None

    def test_spread_is_a_share_of_the_median(self) -> None:
        assert ratios.spread([90, 100, 120]) == pytest.approx(0.3)
        assert ratios.spread([0, 0]) == 0

    def test_a_ratio_reads_with_its_range(self) -> None:
        assert str(Ratio(1.084, 1.0, 1.2)) == "1.08x (1.00-1.20)"


class TestBesideNginx:
    def test_ratios_are_those_within_a_round(self) -> None:
        slow, fast = beside_nginx.Figure(100.0, 30.0), beside_nginx.Figure(300.0, 10.0)
        half = [beside_nginx.Figure(one.rate / 2, one.cpu * 3) for one in (slow, fast)]
        *_, nginx, ours = beside_nginx.table({("full", "nginx"): [slow, fast], ("full", "epoll"): half}, {"full": 0.8})
        assert nginx == "| full | nginx | 200 | 1.00x (1.00-1.00), 0.8 | 20.0 us, 1.00x (1.00-1.00) |"
        assert ours == "| full | epoll | 100 | 0.50x (0.50-0.50), 0.8 | 60.0 us, 3.00x (3.00-3.00) |"

    def test_an_unknown_case_is_refused_by_name(self) -> None:
        names = beside_nginx.names_among(("full", "resumed"))
        assert names("resumed,full") == ["resumed", "full"]
        assert names("") == []
        with pytest.raises(argparse.ArgumentTypeError, match="no case 'ful'; there are full, resumed"):
            names("full,ful")


class TestHeat:
    def test_verdicts_pair_goals_with_ratios(self) -> None:
        one = heat_of("root64", **{"mreactor-epoll": [120.0, 120.0], "nginx": [100.0, 96.0]})
        (epoll, reached), (uring, missing) = one.verdicts()
        assert epoll == Goal(cases.EPOLL, "nginx", 1.0)
        assert reached == Ratio(1.225, 1.2, 1.25)
        assert (uring.server, missing) == (cases.IO_URING, None)

    def test_failed_and_never_started_lanes_retire_with_their_reason(self) -> None:
        one = heat_of("root64", nginx=[100.0], granian=[50.0], waitress=[])
        one.lanes[1].failure = "failed in round 2: connection refused"
        one.retire()
        assert [lane.name for lane in one.lanes] == ["nginx"]
        assert one.skipped["granian"] == "failed in round 2: connection refused"
        assert "before its first round" in one.skipped["waitress"]

    @pytest.mark.parametrize(
        ("ratio", "words"),
        [
            (Ratio(1.2, 1.1, 1.3), "met"),
            (Ratio(1.2, 0.9, 1.3), "met, within the noise"),
            (Ratio(0.9, 0.8, 1.05), "missed, within the noise"),
            (Ratio(0.9, 0.8, 0.95), "missed"),
            (None, "not run"),
        ],
    )
    def test_a_verdict_admits_noise(self, ratio: Ratio | None, words: str) -> None:
        assert report.verdict(ratio, Goal(cases.EPOLL, "nginx", 1.0)) == words

    @pytest.mark.parametrize(
        ("ratio", "words"),
        [
            (Ratio(0.8, 0.7, 0.85), "met"),
            (Ratio(0.8, 0.7, 0.9), "met, within the noise"),
            (Ratio(0.9, 0.8, 1.0), "missed, within the noise"),
            (Ratio(0.9, 0.86, 1.0), "missed"),
        ],
    )
    def test_processor_time_is_to_stay_below_its_goal(self, ratio: Ratio, words: str) -> None:
        assert report.verdict(ratio, Goal(cases.EPOLL, "granian", 0.85, cpu=True)) == words

    def test_goals_on_processor_time_take_ratios_of_cost_within_rounds(self) -> None:
        one = Heat(
            cases.BY_NAME["unique-path"],
            [
                Lane(cases.EPOLL, "", [sample(10.0, cost) for cost in (9.0, 30.0, 9.0)]),
                Lane("nginx", "", [sample(20.0, cost) for cost in (6.0, 20.0, 9.0)]),
            ],
        )
        (epoll, reached), (uring, missing) = one.verdicts()
        assert (epoll.base, epoll.cpu, str(epoll)) == ("nginx", True, "CPU/request ≤ 1.5x nginx")
        assert reached == Ratio(1.5, 1.0, 1.5)
        assert (uring.server, missing) == (cases.IO_URING, None)


class TestReport:
    def test_markdown_has_a_row_a_server_and_a_line_a_skip(self) -> None:
        one = heat_of("root64", nginx=[100_000.0, 120_000.0], granian=[50_000.0, 60_000.0])
        one.skipped["uvicorn"] = "not installed"
        words = report.markdown(report_of(one))
        row = next(line for line in words.splitlines() if line.startswith("| granian"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[:5] == ["granian 1.0", "55,000", "18%", "0.50x (0.50-0.50)", "1.00x (1.00-1.00)"]
        assert cells[5:9] == ["500 µs", "900 µs", "2.5 ms", "10.0"]
        assert cells[9:] == ["1.00x (1.00-1.00)", "1.00x (1.00-1.00)", "97%", "50%", "20.0", "0"]
        assert "- uvicorn skipped: not installed" in words
        assert "| not run |" in words

    def test_large_files_count_in_mebibytes_and_pipelines_have_no_latency(self) -> None:
        large = heat_of("file1m", nginx=[1 << 20])
        assert "| MiB/s |" in report.heat_markdown(large, ())
        assert "|   100 |" in report.heat_markdown(large, ())
        assert "|   - |   - |     - |" in report.heat_markdown(heat_of("pipeline", nginx=[10.0]), ())

    def test_a_busy_machine_is_reported_above_the_tables(self) -> None:
        one = heat_of("root64", nginx=[1.0])
        assert "do not trust" in report.markdown(report_of(one, load_before=2.0))
        assert "do not trust" not in report.markdown(report_of(one))

    def test_json_holds_every_sample(self) -> None:
        one = heat_of("echo", granian=[10.0, 20.0])
        told = json.loads(report.as_json(report_of(one)))
        (lane,) = told["cases"][0]["lanes"]
        assert [sample["outcome"]["requests"] for sample in lane["samples"]] == [20, 40]
        assert lane["ratios"]["granian"]["median"] == 1.0
        assert told["cases"][0]["goals"][0]["reached"] is None
        assert told["machine"]["kernel"] == "6.1"

    def test_the_chart_puts_the_fastest_first_and_says_the_ratio(self) -> None:
        one = heat_of("root64", **{"granian": [50.0], "mreactor-epoll": [150.0], "nginx": [100.0]})
        drawn = report.panel(one)
        assert [bar.label for bar in drawn.bars] == ["mreactor-epoll", "nginx", "granian"]
        assert [bar.tone for bar in drawn.bars] == [Tone.OWN, Tone.BASE, Tone.OTHER]
        assert drawn.bars[0].text == "150  (1.50x nginx)"

    def test_the_chart_of_a_report_is_well_formed(self) -> None:
        root = ElementTree.fromstring(report.svg(report_of(heat_of("root64", nginx=[1.0]), heat_of("echo"))))
        assert any("A <fast> & new CPU" in (text.text or "") for text in root.iter() if text.tag.endswith("text"))

    def test_where_requests_differ_the_chart_shows_the_cost_and_the_cheapest_first(self) -> None:
        lanes = [Lane(cases.EPOLL, "1", [sample(100.0, 15.0)]), Lane("nginx", "1", [sample(90.0, 10.0)])]
        drawn = report.panel(Heat(cases.BY_NAME["unique-head"], lanes))
        assert [(bar.label, bar.value, bar.text) for bar in drawn.bars] == [
            ("nginx", 10.0, "10.0"),
            (cases.EPOLL, 15.0, "15.0  (1.50x nginx)"),
        ]
        assert "less is better" in drawn.unit


class TestResults:
    RECORDED = sorted(results.DIRECTORY.glob("*.json"))

    @pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
    def test_a_recorded_run_has_the_fields_that_a_race_saves(self, path: Path) -> None:
        run = results.load(path.stem)
        saved = results.record(report_of(heat_of("root64", nginx=[1.0])))
        assert set(run) - {"cases", "tables"} == set(saved) - {"cases"}
        assert set(run["machine"]) == set(saved["machine"])
        assert path.stem.startswith(run["machine"]["date"][:10])
        assert bool(run.get("cases")) != bool(run.get("tables"))
        for case in run.get("cases", ()):
            assert set(case) == set(saved["cases"][0])
            assert case["servers"]
            for server in case["servers"]:
                # Races before 2026-11-27 did not record ratios of processor time.
                assert set(server) | {"cpu_ratios"} == set(saved["cases"][0]["servers"][0])
                assert all(set(ratio) == {"median", "low", "high"} for ratio in server["ratios"].values())
        for one in run.get("tables", ()):
            assert {len(row) for row in one["rows"]} == {len(one["columns"])}

    def test_there_are_recorded_runs(self) -> None:
        assert len(self.RECORDED) >= 10

    def test_a_race_is_recorded_by_its_medians(self) -> None:
        one = heat_of("root64", nginx=[100.0, 110.0, 400.0], granian=[50.0, 44.0, 100.0])
        saved = json.loads(results.as_json(report_of(one)))
        assert (saved["benchmark"], saved["rounds"], saved["notes"]) == ("race", 3, [])
        assert saved["machine"]["date"] == "2030-01-02 03:04"
        (case,) = saved["cases"]
        assert (case["name"], case["unit"]) == ("root64", "requests/s")
        granian = case["servers"][1]
        assert (granian["rate"], granian["cpu_us"], granian["core"]) == (50.0, 10.0, 0.97)
        assert granian["ratios"]["nginx"] == {"median": 0.4, "low": 0.25, "high": 0.5}

    def test_a_busy_machine_is_noted_in_the_record(self) -> None:
        (note,) = results.record(report_of(heat_of("echo", nginx=[1.0]), load_before=2.0))["notes"]
        assert "do not trust" in note

    def test_a_table_has_a_row_a_case_and_the_first_run_of_a_case_counts(self) -> None:
        first = results.record(report_of(heat_of("file1m", **{"nginx": [2.0**20], "mreactor-epoll": [2.0**21]})))
        other = results.record(report_of(heat_of("file1m", nginx=[1.0]), heat_of("echo", granian=[4_000.0])))
        lines = results.cases_table([first, other]).splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        assert cells[0] == ["case", "mreactor, epoll", "mreactor, io_uring", "nginx", "granian"]
        assert cells[2] == [
            "GET /large.bin, 1 MiB, 32 connections (MiB/s)",
            "200 · 10.0 µs · 2.00x",
            "-",
            "100 · 10.0 µs",
            "-",
        ]
        assert cells[3][1:] == ["-", "-", "-", "4,000 · 10.0 µs"]
        assert len(cells) == 4

    def test_where_nginx_has_no_such_case_granian_is_the_base(self) -> None:
        one = heat_of("echo", **{"granian": [1_000.0], "mreactor-epoll": [2_000.0]})
        run = results.record(report_of(one))
        assert "2,000 · 10.0 µs · 2.00x granian" in results.cases_table([run])

    def test_what_was_not_recorded_is_left_out(self) -> None:
        server: dict[str, Any] = {"name": "nginx", "rate": None, "cpu_us": 9.6, "ratios": {}}
        assert results.cell({"name": "root64", "servers": [server]}, "nginx") == "9.6 µs"

    def test_where_requests_differ_the_cost_is_compared_and_the_cases_have_their_own_table(self) -> None:
        lanes = [Lane(name, "1", [sample(100.0, cost)]) for name, cost in ((cases.EPOLL, 15.0), ("nginx", 10.0))]
        lanes.append(Lane("granian", "1", [sample(100.0, 20.0)]))
        run = results.record(report_of(Heat(cases.BY_NAME["unique-head"], lanes), heat_of("root64", nginx=[5.0])))
        (row,) = results.cases_table([run], "differing").splitlines()[2:]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1:] == [
            "15.0 µs · 1.50x nginx · 0.75x granian",
            "-",
            "10.0 µs · 0.50x granian",
            "20.0 µs · 2.00x nginx",
        ]
        (row,) = results.cases_table([run], "repeated").splitlines()[2:]
        assert "GET /, 64 connections" in row
        assert len(results.cases_table([run]).splitlines()) == 4

    def test_the_command_prints_the_tables_and_puts_them_into_the_page(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / "page.md"
        page.write_text("before\n<!-- bench.results: one, two -->\nold\n<!-- bench.results end -->\nafter\n")
        monkeypatch.setattr(results, "PAGE", page)
        monkeypatch.setattr(results, "DIRECTORY", tmp_path)
        (tmp_path / "one.json").write_text(results.as_json(report_of(heat_of("root64", nginx=[7_000.0]))))
        (tmp_path / "two.json").write_text(results.as_json(report_of(heat_of("echo", granian=[5_000.0]))))
        assert results.main([]) == 0
        printed = capsys.readouterr().out
        assert "7,000" in printed
        assert "5,000" in printed
        assert results.main(["--write"]) == 0
        begin, end = "before\n<!-- bench.results: one, two -->\n", "<!-- bench.results end -->\nafter\n"
        assert page.read_text() == begin + printed + end


class TestChart:
    def test_hostile_words_stay_words(self) -> None:
        words = 'a <b> & "c"'
        root = ElementTree.fromstring(chart.svg(words, [words], [Panel(words, words, [Bar(words, 1.0, words)])]))
        texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        assert texts == [words] * 6
        assert root.get("aria-label") == words

    def test_bars_are_as_long_as_their_values_and_inside_the_card(self) -> None:
        bars = [Bar("a", 200.0, "200", Tone.OWN), Bar("b", 50.0, "50"), Bar("c", 0.0, "0")]
        root = ElementTree.fromstring(chart.svg("t", [], [Panel("p", "u", bars), Panel("empty", "u", [])]))
        card, *drawn = root.iter("{http://www.w3.org/2000/svg}rect")
        widths = [float(rect.get("width", "0")) for rect in drawn]
        assert widths == [chart.BAR_WIDTH, chart.BAR_WIDTH / 4, 1.0]
        bottom = max(float(rect.get("y", "0")) for rect in drawn) + chart.BAR_HEIGHT
        assert bottom < float(card.get("height", "0"))


class TestTable:
    def test_columns_are_padded_and_figures_aligned_right(self) -> None:
        assert table.markdown(["name", "n"], [["a", "1"], ["bcdef", "1,000"]]) == (
            "| name  |     n |\n| ----- | ----: |\n| a     |     1 |\n| bcdef | 1,000 |\n"
        )

    def test_bars_and_line_feeds_do_not_break_the_table(self) -> None:
        rows = table.markdown(["a", "b"], [["x|y", "1\n2"]]).splitlines()
        assert rows[2] == "| x\\|y | 1 2 |"

    @pytest.mark.parametrize(
        ("microseconds", "words"),
        [
            (None, "-"),
            (7.4, "7 µs"),
            (999.0, "999 µs"),
            (1_234.0, "1.23 ms"),
            (277_000.0, "277 ms"),
            (1.96e6, "1.96 s"),
        ],
    )
    def test_latencies_read_with_their_unit(self, microseconds: float | None, words: str) -> None:
        assert table.latency(microseconds) == words


class TestScaling:
    def scaling_of(self, costs: dict[int, list[float]], waits: float) -> scaling.Scaling:
        facts = machine.Machine("d", "p", 2, "k", "Python 3.13.5t", "wrk 4", 0.0, "c")
        told = scaling.Scaling(facts, "somewhere", Load("/", 256), 2, 1.0, 4.0)
        for threads, by_round in costs.items():
            samples = [sample(1000.0, cost) for cost in by_round]
            told.points.append(
                scaling.Point(cases.EPOLL, threads, samples, {"strace": waits}, {"strace": {"requests": 100_000}})
            )
        return told

    def test_growth_is_taken_round_by_round(self) -> None:
        (line,) = self.scaling_of({1: [10.0, 20.0], 16: [10.5, 21.0]}, 0.2).lines()
        assert scaling.growth(line) == pytest.approx(1.05)
        assert scaling.growth(line[:1]) is None

    def test_the_report_says_whether_the_goals_are_met(self) -> None:
        good = scaling.markdown(self.scaling_of({1: [10.0], 16: [10.5]}, 0.2))
        assert " 0.20 of 100,000 |" in good
        assert "1.05x from 1 to 16 threads (goal: at most 1.1, met)" in good
        assert "at most 0.20 futex and sched_yield calls per 1,000 requests (goal: under 1, met)" in good
        bad = scaling.markdown(self.scaling_of({1: [10.0], 16: [12.0]}, 5.0))
        assert bad.count("missed") == 2

    def test_the_chart_is_well_formed_and_the_json_complete(self) -> None:
        told = self.scaling_of({1: [10.0], 2: [11.0]}, 0.0)
        root = ElementTree.fromstring(scaling.svg(told))
        texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "1 thread" in texts
        assert "2 threads" in texts
        assert json.loads(json.dumps(scaling.as_dict(told)))["growth"] == {cases.EPOLL: 1.1}


class TestTenThousand:
    def test_the_report_compares_with_nginx_and_counts_what_stayed_open(self) -> None:
        facts = machine.Machine("d", "p", 2, "k", "Python 3.13.5t", "wrk 4", 0.0, "c")
        quiet, leaking = c10k.State(20 << 20, 10), c10k.State(30 << 20, 13)
        own = c10k.Trial(
            cases.EPOLL, quiet, sample(10.0, errors=Errors(timeout=4)), quiet, sample(9.0), quiet, 2, 60.0, leaking
        )
        nginx = c10k.Trial("nginx", quiet, sample(10.0), quiet)
        failed = c10k.Trial(cases.IO_URING, failures=["there is no mreactor to start yet"])
        words = c10k.markdown(c10k.Result(facts, 10_000, 60.0, 10.0, [own, failed, nginx]))
        assert "busy errors: 4 timeout; descriptors left open: 3; p99 1.00x nginx's (goal: at most 1, met)" in words
        assert "fresh client beside idle ones 60.0 ms (goal: 50 ms, missed)" in words
        assert "- mreactor-io_uring: there is no mreactor to start yet" in words
