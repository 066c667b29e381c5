"""Every command, as a person calls it, on a small real file."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import get_args

import click
import pytest
from command_line import MEMORY, REPLAY, assert_fails, call, call_json, call_well, write_log
from rich.console import Console

from perennial import cli
from perennial.replay.cli import parameters
from perennial.replay.cli.errors import echo
from perennial.replay.cli.progress import show_bar, show_status, watch_replay
from perennial.replay.events import (
    CellFinished,
    CellName,
    CellStarted,
    RunFinished,
    RunStarted,
    StageMessage,
)
from perennial.storage.opening import open_existing
from perennial.storage.reading.formats import FORMATS
from perennial.stream.cuts import CUTS
from perennial.stream.next_period import ProtocolName
from perennial.stream.noise import NoiseKind
from perennial.stream.sources.registry import SOURCES

ROOT = Path(cli.__file__).resolve().parent
RESULT_FIELDS = [
    *("strategy", "model", "seed", "fit_period", "eval_period"),
    *("metric", "k", "value", "num_users"),
]
NEVER_TO_LOOK = {"jax", "scipy", "pandas", "matplotlib", "jinja2"}
"""Libraries that a command which only looks never imports."""
QUICK = ("--periods", "4", "--model", "infinite-ae", "--strategy", "individual")
"""A part of the replay in `replayed`."""


def quick_results(printed: dict) -> list[dict]:
    return [
        one
        for one in printed["results"]
        if (one["strategy"], one["model"]) == ("individual", "infinite-ae")
    ]


def walk(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            found += walk(inner, f"{path} {name}")
    return found


COMMANDS = walk(cli.main, "perennial")
LEAVES = [
    (path, one)
    for path, one in COMMANDS
    if not isinstance(one, click.Group) or one.invoke_without_command
]


class TestHelp:
    @pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])
    def test_every_command_and_option_has_help(self, path, command):
        assert command.help
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path} {parameter.opts}"
        assert call_well(*path.split()[1:], "--help").stdout.startswith(f"Usage: {path} ")

    @pytest.mark.parametrize(("path", "command"), LEAVES, ids=[path for path, _ in LEAVES])
    def test_every_command_and_option_stands_in_the_docs(self, path, command):
        sections = re.split(r"(?m)^## ", (ROOT / "docs" / "commands.md").read_text())
        (section,) = [one for one in sections if one.split("\n")[0] == path]
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for option in parameter.opts:
                    assert f"`{option}`" in section, option
        readme = (ROOT / "README.md").read_text()
        assert f"`{path}" in readme

    @pytest.mark.parametrize("path", [path for path, _ in LEAVES])
    def test_every_command_that_prints_results_has_json(self, path):
        has = any("--json" in one.opts for one in dict(LEAVES)[path].params)
        assert has is (path not in {"perennial completion", "perennial serve"})

    def test_version(self):
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert call_well("--version").stdout == f"perennial {version}\n"

    def test_names_that_help_repeats_are_those_of_the_library(self):
        assert parameters.CUTS == CUTS
        assert tuple(FORMATS) == parameters.FORMATS
        assert get_args(ProtocolName) == parameters.PROTOCOLS
        assert get_args(NoiseKind) == parameters.NOISE_KINDS

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion_prints_a_script(self, shell):
        if shell == "bash" and shutil.which("bash") is None:
            pytest.skip("bash is not installed, and click asks it for its version")
        assert "_PERENNIAL_COMPLETE" in call_well("completion", shell).stdout

    def test_completion_knows_the_models(self):
        names = cli.replay.make_context("replay", []).command
        (option,) = [one for one in names.params if one.name == "models"]
        items = option.shell_complete(click.Context(names), "infinite-ae,mv")
        assert [item.value for item in items] == ["infinite-ae,mvae"]


class TestStartUp:
    """Imports of a command, each in a process of its own."""

    def imported(self, folder: Path, *arguments: object) -> set[str]:
        program = (
            "import sys; from perennial import cli\n"
            "try: cli.main(sys.argv[1:])\n"
            "finally: print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
        )
        done = subprocess.run(  # noqa: S603  # our own interpreter and text
            [sys.executable, "-c", program, *map(str, arguments)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout or done.stderr.startswith("error: ")
        assert done.returncode == (0 if done.stdout else 1)
        return set(done.stderr.splitlines()[-1].split())

    @pytest.mark.parametrize(
        "command",
        [
            "--help",
            "replay --help",
            "--version",
            "replay absent.csv",
            "ingest absent.csv --store new.duckdb",
            "study table1 absent.csv",
            "distill absent.csv -o rows.parquet",
            *(
                f"{command} --store absent.duckdb"
                for command in ("status", "periods", "memory show", "recommend --user a", "update")
            ),
            *(f"{command} --store absent.duckdb" for command in ("runs", "runs delete 1")),
        ],
    )
    def test_help_and_a_mistyped_name_import_no_library(self, tmp_path, command):
        heavy = {"duckdb", "numpy", "pyarrow", "pydantic", "rich"} | NEVER_TO_LOOK
        assert heavy.isdisjoint(self.imported(tmp_path, *command.split()))

    def test_data_sets_are_listed_without_arrays(self, tmp_path):
        heavy = {"duckdb", "numpy", "pyarrow", "pydantic"} | NEVER_TO_LOOK
        assert heavy.isdisjoint(self.imported(tmp_path, "datasets", "list", "--cache", tmp_path))

    @pytest.mark.parametrize(
        "command", ["status", "periods", "memory show", "runs", "runs delete 1"]
    )
    def test_a_look_into_a_store_imports_no_numerical_library(self, replayed, command):
        store, _ = replayed
        # Live, with summaries, and not fitted yet.
        call_well("init", "--store", store, "--strategy", "distill-cf", *MEMORY)
        found = self.imported(store.parent, *command.split(), "--store", store)
        assert NEVER_TO_LOOK.isdisjoint(found)

    def test_ingest_imports_neither_jax_nor_what_draws(self, log, tmp_path):
        found = self.imported(tmp_path, "ingest", log, "--store", "new.duckdb")
        assert {"jax", "matplotlib", "jinja2", "scipy"}.isdisjoint(found)


class TestReplay:
    def test_the_printed_json_has_the_agreed_shape(self, replayed):
        _, printed = replayed
        assert list(printed) == [
            *("config", "results", "means", "evaluations", "timings", "costs"),
            *("read_as", "remarks"),
        ]
        assert all(list(one) == RESULT_FIELDS for one in printed["results"])
        periods = {(one["fit_period"], one["eval_period"]) for one in printed["results"]}
        assert periods == {(1, 2), (2, 3), (3, 4)}
        assert {"HR", "nDCG", "PSP", "AUC"} <= {one["metric"] for one in printed["results"]}
        assert {(one["strategy"], one["model"]) for one in printed["means"]} == {
            (strategy, model)
            for strategy in ("individual", "distill-cf")
            for model in ("infinite-ae", "mvae")
        }
        assert list(printed["means"][0]) == [
            *("strategy", "model", "metric", "k", "mean", "stderr", "user_stderr"),
            *("seeds", "periods"),
        ]

    def test_again_it_links_all_cells(self, log, replayed):
        store, printed = replayed
        result = call_well("replay", log, *REPLAY, "--store", store, "--json")
        again = json.loads(result.stdout)
        for key in ("results", "means", "timings"):
            assert again[key] == printed[key]
        assert result.stderr.count("there already") == 12
        assert len(call_json("memory", "show", "--store", store)["summaries"]) == 2

    def test_without_a_source_or_afresh_it_makes_the_same_again(self, replayed, log):
        store, printed = replayed
        again = call_json("replay", "--store", store, *QUICK[2:])
        assert again["results"] == quick_results(printed)
        result = call_well("replay", log, *QUICK, "--store", store, "--json", "--fresh")
        assert "there already" not in result.stderr
        assert json.loads(result.stdout)["results"] == quick_results(printed)

    def test_store_is_named_after_the_source_and_tables_are_shown(self, log, here):
        result = call_well("replay", log, *QUICK, "--report", "out", "--max-rows", "20")
        assert (here / "visits.duckdb").is_file()
        assert (here / "out" / "report.html").is_file()
        assert "infinite-ae" in result.stdout
        assert "HR@10" in result.stdout
        assert "report: out/report.html" in result.stdout
        assert "visits.csv: periods 1 to 4, 1,200 interactions from 1,200 lines" in result.stderr

    def test_settings_reach_the_model_and_the_record(self, log, here):
        small = ("hidden=8", "latent=4", "max_updates=20", "check_every=10")
        settings = [part for one in small for part in ("--set", f"mvae.{one}")]
        arguments = ("--periods", "2", "--model", "mvae", "--strategy", "joint,individual")
        extras = ("--seed", "3", "--seed", "4,", "--protocol", "returning", "--no-mask")
        limits = ("--memory-limit", "2GiB", "--max-rows", "30", "--warm-start")
        config = call_json("replay", log, *arguments, *extras, *limits, *settings)["config"]
        assert (config["seeds"], config["strategies"]) == ([3, 4], ["joint", "individual"])
        assert (config["memory_limit"], config["max_rows"]) == (2 * 2**30, 30)
        assert config["protocol"]["protocol"] == "returning"
        assert config["protocol"]["mask_context"] is False
        (model,) = config["models"]
        assert model["settings"]["latent"] == 4
        assert model["settings"]["warm_start"] is True
        assert (config["source"], config["cut"]) == ("visits", "equal-count")


class TestScreen:
    """Drawings where someone watches; nothing of them may reach stdout."""

    def test_a_terminal_shows_stages_bars_and_means(self, replayed, capsys):
        drawn = io.StringIO()
        console = Console(file=drawn, force_terminal=True, width=120)
        cell = CellName("individual", "infinite-ae", 0, 2, 3)
        with open_existing(replayed[0]) as store, watch_replay(store, console) as listener:
            listener(RunStarted(run_id=1, cells=(cell,) * 2))
            listener(CellStarted(cell))
            listener(StageMessage(cell, "kernel [bold]of[/] 40 rows"))
            listener(CellFinished(cell, 1, 2, None))
            listener(CellFinished(cell, 2, 2, None))
            listener(RunFinished(run_id=1))
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.getvalue())
        assert "2/2" in text
        assert "kernel [bold]of[/] 40 rows" in text
        assert "Mean over the evaluated periods" in text
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("show", [show_bar, show_status])
    def test_results_are_printed_on_lines_of_their_own(self, show, monkeypatch):
        screen = io.StringIO()
        monkeypatch.setattr("click.echo", lambda line, err: screen.write(line + "\n"))
        console = Console(file=screen, force_terminal=True, width=60)
        with show(console) as progress:
            progress("period 1: λ = 1 " + "and more " * 20)
            echo("period 1: published")
        echo("done")
        drawn = screen.getvalue()
        before, after = drawn.split("period 1: published\n")
        # The line of the progress is erased, and the cursor is at its beginning.
        assert re.search(r"\r(\x1b\[\?25h)?(\x1b\[1A)?\x1b\[2K$", before)
        assert "period 1: λ" in after
        assert drawn.endswith("\x1b[2Kdone\n")

    def test_the_means_stay_after_an_interruption(self, replayed):
        drawn = io.StringIO()
        console = Console(file=drawn, force_terminal=True, width=120)
        cell = CellName("individual", "infinite-ae", 0, 2, 3)
        stops = suppress(KeyboardInterrupt)
        with open_existing(replayed[0]) as store, stops, watch_replay(store, console) as listener:
            listener(RunStarted(run_id=1, cells=(cell,)))
            listener(CellFinished(cell, 1, 1, None))
            raise KeyboardInterrupt
        assert "Mean over the evaluated periods" in drawn.getvalue().split("\x1b[2K")[-1]


class TestRefusals:
    def assert_leaves_nothing(self, folder: Path) -> None:
        assert [path.name for path in folder.iterdir() if "duckdb" in path.name] == []

    def test_unknown_names(self, log, here):
        assert_fails(call("replay", log, "--model", "svd"), "'svd' is unknown", 2)
        assert_fails(call("replay", log, "--strategy", "joint,all"), "'all' is unknown", 2)
        assert_fails(call("replay", log, "--cut", "year"), "'year' is not one of", 2)
        assert_fails(call("replay", log, "--seed", "x"), "'x' is no seed", 2)
        for size in ("lots", "800", "1.5"):
            assert_fails(call("replay", log, "--memory-limit", size), f"'{size}' is no size", 2)
        assert_fails(call("replay", log, "--budget", "500.0"), "bytes such as 256KiB", 2)
        assert_fails(call("replay", log, "--set", "latent=4"), "model.setting=value", 2)
        assert_fails(call("replays"), "No such command 'replays'", 2)
        assert_fails(call("replay", "nothing.csv"), "'nothing.csv' is neither a file")
        self.assert_leaves_nothing(here)

    def test_bad_settings(self, log, here):
        assert_fails(call("replay", log, "--set", "mvae.depth=4"), "has no setting 'depth'")
        for setting, line in (
            ("mvae.latent=x", "model 'mvae', setting 'latent': must be a whole number"),
            ("mvae.latent=-1", "model 'mvae': latent must be at least 1"),
            ("mvae.warm_start=5", "setting 'warm_start': must be true or false"),
            ("infinite-ae.regs=3", "setting 'regs': must be a list"),
            ("infinite-ae.backend=q", "setting 'backend': must be 'closed-form' or"),
            ("distill-cf.distillation=3", "setting 'distillation': must be a group of settings"),
        ):
            assert_fails(call("replay", log, "--set", setting), line)
        for option, line in (
            (("--periods", "x"), "'--periods': give a whole number from 2 on"),
            (("--max-rows", "0"), "'--max-rows': give a whole number from 1 on"),
            (("--memory-weight", "0"), "'--memory-weight': give a number above 0"),
            (("--max-reject-share", "2"), "'--max-reject-share': give a number from 0 to 1"),
            (("--min-rating", "good"), "'--min-rating': give a number"),
        ):
            assert_fails(call("replay", log, *option), line, 2)
        assert_fails(
            call("replay", log, "--model", "infinite-ae", "--set", "mvae.latent=4"),
            "mvae.latent is for a model that does not run",
        )
        assert_fails(
            call("replay", log, "--model", "infinite-ae", "--warm-start"), "leave --warm-start out"
        )
        self.assert_leaves_nothing(here)

    def test_bad_files(self, log, here):
        (here / "words.csv").write_text("colour,shape\nred,round\n")
        assert_fails(call("replay", "words.csv"), "words.csv")
        assert_fails(call("ingest", "words.csv", "--store", "s.duckdb"), "words.csv")
        assert_fails(call("ingest", "absent.csv", "--store", "s.duckdb"), "absent.csv")
        assert_fails(call("ingest", log, "--store", "s.duckdb", "--user-column", "who"), "who")
        bad = (here / "bad.csv", "user_id,item_id,timestamp\n" + ",,\n" * 9 + "a,b,1\n")
        bad[0].write_text(bad[1])
        assert_fails(call("ingest", "bad.csv", "--store", "s.duckdb"), "bad.csv")
        self.assert_leaves_nothing(here)

    def test_a_store_that_is_none(self, log, here):
        (here / "notes.txt").write_text("no database\n" * 400)
        for arguments in (
            ("replay", log, "--store", "notes.txt"),
            ("replay", "--store", "notes.txt"),
            ("ingest", log, "--store", "notes.txt"),
            ("periods", "--store", "notes.txt"),
            ("report", "--store", "notes.txt"),
            ("recommend", "--user", "u1", "--store", "notes.txt"),
        ):
            assert_fails(call(*arguments), "notes.txt")
        assert (here / "notes.txt").read_text() == "no database\n" * 400
        for command in (("periods",), ("report",), ("recommend", "--user", "u1")):
            assert_fails(call(*command, "--store", "absent.duckdb"), "no such store")
        self.assert_leaves_nothing(here)

    def test_a_store_with_another_log_or_cut_otherwise(self, replayed, tmp_path, log):
        store, _ = replayed
        before = call_well("periods", "--store", store, "--json").stdout
        other = write_log(tmp_path / "other.csv", seed=8)
        assert_fails(call("replay", other, *QUICK, "--store", store), "another log")
        assert call_well("periods", "--store", store, "--json").stdout == before
        for how in (
            *(("--periods", 3), ("--cut", "files")),
            ("--periods", 4, "--item-column", "timestamp"),
        ):
            assert_fails(call("replay", log, *how, "--store", store), "in another way")
        assert_fails(call("replay", "--periods", 4, "--store", store), "cut and read already")
        assert call_well("periods", "--store", store, "--json").stdout == before

    def test_one_period_is_too_few(self, log, here):
        call_well("ingest", log, "--store", "one.duckdb")
        assert_fails(call("replay", "--store", "one.duckdb"), "a replay needs two")

    def test_a_fault_shows_its_traceback_only_with_debug(self, replayed, monkeypatch):
        def fail(*_: object) -> None:
            raise RuntimeError("lamp\nbroken")

        monkeypatch.setattr("perennial.storage.log.periods.list_periods", fail)
        quiet = call("periods", "--store", replayed[0])
        assert_fails(quiet, "RuntimeError: lamp broken")
        loud = call("--debug", "periods", "--store", replayed[0])
        assert loud.exit_code == 1
        assert "Traceback" in loud.stderr


class TestIngest:
    def test_counts_are_shown_and_the_same_again_changes_nothing(self, here):
        text = "user_id,item_id,timestamp\na,1,10\na,1,10\nb,2,20\n,3,30\n"
        (here / "may.csv").write_text(text + "".join(f"c,{i},{i}\n" for i in range(100, 140)))
        first = call_well("ingest", "may.csv", "--store", "s.duckdb").stdout
        assert first.startswith("may.csv: period 1, 42 interactions from 44 lines; 1 equal")
        assert "1 bad lines rejected (1 " in first
        again = call_well("ingest", "may.csv", "--store", "s.duckdb").stdout
        assert again == "may.csv: already in the store as period 1; nothing changed\n"

    def test_columns_and_format_can_be_told(self, here):
        lines = "".join(f"{u}|{i}\n" for u, i in [("x", "7"), ("y", "8")]).replace("|", "\t")
        (here / "odd.log").write_text("who\twhat\n" + lines)
        call_well(
            *("ingest", "odd.log", "--store", "s.duckdb", "--format", "tsv"),
            *("--user-column", "who", "--item-column", "what"),
        )
        (period,) = call_json("periods", "--store", "s.duckdb")["periods"]
        assert (period["interactions"], period["has_clock"]) == (2, False)


class TestAfterwards:
    def test_periods_of_a_store(self, replayed):
        store, _ = replayed
        periods = call_json("periods", "--store", store)["periods"]
        assert sum(one["interactions"] for one in periods) == 1200
        assert {"users", "items", "new_users", "new_items"} <= set(periods[0])
        assert "new users" in call_well("periods", "--store", store).stdout.replace("\n", " ")

    def test_report_of_a_run(self, replayed, tmp_path):
        store, printed = replayed
        assert call_json("report", "--store", store, "--run", "1")["results"] == printed["results"]
        result = call_well("report", "--store", store, "-o", tmp_path / "pages")
        assert (tmp_path / "pages" / "report.html").is_file()
        assert str(tmp_path / "pages" / "report.html") in result.stdout.replace("\n", "")
        assert_fails(call("report", "--store", store, "--run", "99"), "no run 99")

    def test_report_of_a_run_next_to_another(self, log, replayed):
        store, _ = replayed
        call_well("replay", log, *REPLAY, "--store", store)
        report = ("report", "--store", store, "--against", "1")
        against = call_json(*report)["against"]
        assert (against["other_run"], against["changed"]) == (1, [])
        assert {one["mean"] for one in against["differences"]} == {0.0}
        assert "Difference from run 1" in call_well(*report).stdout
        assert_fails(call(*report[:-1], "99"), "no run 99")

    def test_runs_are_listed_and_deleted(self, log, replayed):
        store, printed = replayed
        call_well("replay", log, *QUICK, "--store", store, "--seed", "1")
        call_well("init", "--store", store, "--model", "pop")
        first, second, live = call_json("runs", "--store", store)["runs"]
        assert (first["run"], first["cells"], first["newest_period"]) == (1, 12, 4)
        assert (first["config"]["seeds"], second["config"]["seeds"]) == ([0], [1])
        assert [one["status"] for one in (first, second, live)] == ["finished", "finished", "live"]
        assert {"12/12", "live"} <= set(call_well("runs", "--store", store).stdout.split())
        delete = ("runs", "delete", "--store", store)
        assert_fails(call(*delete, "3"), "run 3 is the run of the live model")
        assert call_json(*delete, "2") == {"run": 2, "cells": 3, "fits": 3, "models": 0}
        assert_fails(call(*delete, "2"), "no run 2")
        assert call_json("report", "--store", store, "--run", "1")["results"] == printed["results"]

    def test_report_of_the_first_periods(self, replayed):
        store, printed = replayed
        report = ("report", "--store", store, "--until-period")
        shown = call_json(*report, "2")
        assert shown["results"] == [one for one in printed["results"] if one["eval_period"] == 2]
        assert "Only periods up to 2" in call_well(*report, "2").stdout
        assert_fails(call(*report, "1"), "'--until-period'", 2)

    def test_cleared_bytes(self, monkeypatch):
        monkeypatch.setattr("perennial.replay.cli.sources.clear_compile_cache", lambda: 5)
        assert call_json("cache", "clear") == {"bytes": 5}

    def test_data_sets(self, tmp_path):
        listed = call_well("datasets", "list", "--cache", tmp_path).stdout
        entries = call_json("datasets", "list", "--cache", tmp_path)["datasets"]
        assert [one["name"] for one in entries] == list(SOURCES)
        assert all(one[key] in listed for one in entries for key in ("name", "state"))
        path = call_well("datasets", "download", "synthetic", "--cache", tmp_path).stdout.strip()
        assert Path(path.replace("\n", "")).is_file()
        printed = call_json("datasets", "download", "synthetic", "--cache", tmp_path)
        assert printed == {"name": "synthetic", "files": [path]}
        assert_fails(call("datasets", "download", "netflix"), "'netflix' is not one of", 2)


class TestInterruption:
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
    def test_ctrl_c_is_one_line(self, replayed, monkeypatch, error):
        def stop(*_: object) -> None:
            raise error

        monkeypatch.setattr("perennial.storage.log.periods.list_periods", stop)
        result = call("periods", "--store", replayed[0])
        assert result.exit_code == 130
        assert result.stderr.strip() == "error: interrupted; the same command resumes from here"

    @pytest.mark.slow
    @pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
    @pytest.mark.parametrize(("sent", "exit_code"), [("SIGINT", 130), ("SIGKILL", -9)])
    def test_the_same_command_resumes(self, log, replayed, tmp_path, sent, exit_code):
        store = tmp_path / "killed.duckdb"
        command = [sys.executable, str(ROOT / "cli.py"), "replay", str(log), *QUICK, "--json"]
        command += ["--store", str(store)]
        running = subprocess.Popen(  # noqa: S603  # our own program
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        lines = []
        for line in running.stderr:
            lines.append(line)
            if line.startswith("1/3"):
                running.send_signal(getattr(signal, sent))
                break
        stdout, stderr = running.communicate()
        assert running.returncode == exit_code, "".join(lines) + stderr
        assert stdout == ""
        if sent == "SIGINT":
            assert stderr.splitlines()[-1].startswith("error: interrupted")
            assert "Traceback" not in stderr

        result = call_well("replay", log, *QUICK, "--store", store, "--json")
        assert result.stderr.count("there already") >= 1
        assert json.loads(result.stdout)["results"] == quick_results(replayed[1])
