"""Text of a log or a file reaches no terminal, pipe or page with its control characters."""

import ast
import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import call, call_json, call_well

from perennial import cli
from perennial.replay.cli.progress import show_bar, show_status
from perennial.replay.report.drawing import TerminalConsole
from perennial.replay.service.server import LOG, log_to_stderr
from perennial.storage.base import escape_controls

ROOT = Path(cli.__file__).resolve().parent
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
EVIL = "\x1b]0;owned\x07\x1b[31m\x9b2J\r\u202e[/red]\nfaked line"
SEEN = r"\x1b]0;owned\x07\x1b[31m\x9b2J\r\u202e[/red]\nfaked line"
QUICK = ("--strategy", "individual", "--set", "infinite-ae.reg=5")


def assert_visible(text: str) -> None:
    """See that no line of a text begins with what an identifier or a name wants to fake."""
    assert CONTROLS.search(text) is None
    assert not re.search("^faked line", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (EVIL, SEEN),
        ("día 東京\u3000ה\u200dא\xa0🎬 C:\\x1b", "día 東京\u3000ה\u200dא\xa0🎬 C:\\x1b"),
        ("name\udcff", r"name\udcff"),
        ("\u2028\u2066\x00\t\x7f", r"\u2028\u2066\x00\t\x7f"),
    ],
)
def test_controls_are_seen_and_other_characters_stay(text: str, shown: str) -> None:
    assert (escape_controls(text), escape_controls(shown)) == (shown, shown)


@pytest.fixture(scope="module")
def evil_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A live store whose users, items, titles and files have such names, and bad files."""
    folder = tmp_path_factory.mktemp("evil")
    for period in range(2):
        rows = [
            (f"u{user}{EVIL}", f"i{(user + place * period) % 11}{EVIL}", 10 * place + user)
            for user in range(8)
            for place in range(4)
        ]
        users, items, times = zip(*rows, strict=True)
        seconds = [1000 * period + time for time in times]
        table = pa.table({"user_id": users, "item_id": items, "timestamp": seconds})
        pq.write_table(table, folder / f"day-{period}{EVIL.replace('/', '')}.parquet")
    titles = {"item_id": [f"i1{EVIL}"], "title": [f"title{EVIL}"]}
    pq.write_table(pa.table(titles), folder / f"titles{EVIL.replace('/', '')}.parquet")
    name = "\x1b[31m\x07"
    (folder / f"columns{name}.csv").write_text(f"a{name},b{name}\n1,2\n")
    (folder / f"times{name}.csv").write_text(f"user_id,item_id,timestamp\n1,2,soon{name}\n")
    store = folder / "evil.duckdb"
    call_well("init", "--store", store, *QUICK)
    return folder


def test_every_command_prints_it_visibly(evil_folder: Path) -> None:
    store, source = evil_folder / "evil.duckdb", next(evil_folder.glob("day-0*"))
    days = sorted(evil_folder.glob("day-*"))
    evil_user, item = f"u1{EVIL}", f"i1{EVIL}"
    wrong = f"nobody{EVIL}"
    for command, words in (
        (("ingest", *days, "--store", store), SEEN.replace("/", "")),
        (("titles", next(evil_folder.glob("titles*")), "--store", store), "titles"),
        (("recommend", "--store", store, "--user", evil_user), SEEN),
        (("recommend", "--store", store, "--items", item, "--keep-seen", "--why"), "title"),
        (("recommend", "--store", store, "--user", wrong), "nobody"),
        (("recommend", "--store", store, "--items", wrong), "nobody"),
        (("periods", "--store", store), "Times in UTC"),
        (("status", "--store", store), "individual"),
        (("replay", "--store", store, "--model", "pop", *QUICK[:2]), "individual"),
        (("replay", source, "--store", evil_folder / f"other{EVIL[:9]}.duckdb", "--periods", "2",
          "--model", "pop", *QUICK[:2]), "day-0"),
        (("periods", "export", "--store", store, "-o", evil_folder / f"out{EVIL[:9]}"), "out"),
        (("ingest", next(evil_folder.glob("columns*")), "--store", store), r"a\x1b[31m\x07"),
        (("ingest", next(evil_folder.glob("times*")), "--store", store), r"times\x1b[31m\x07.csv"),
        (("ingest", evil_folder / wrong.replace("/", ""), "--store", store), "nobody"),
        (("watch", evil_folder, "--store", store, "--once"), "columns"),
        (("forget", "--user", wrong, "--store", store), "nobody"),
        (("ingest", "--no-such-option", EVIL), "No such option"),
        ((f"command{EVIL}",), "No such command"),
    ):  # fmt: skip
        result = call(*command)
        assert words in result.output, command
        assert_visible(result.stdout)
        assert_visible(result.stderr)


def test_a_traceback_is_visible_too(evil_folder: Path) -> None:
    result = call("--debug", "ingest", f"nobody{EVIL}", "--store", evil_folder / "new.duckdb")
    assert "Traceback" in result.stderr
    assert CONTROLS.search(result.stderr) is None


def test_json_has_it_as_it_is(evil_folder: Path) -> None:
    store = evil_folder / "evil.duckdb"
    call_well("ingest", *sorted(evil_folder.glob("day-*")), "--store", store)
    found = call_json("recommend", "--store", store, "--user", f"u1{EVIL}", "--k", "1")
    assert found["recommendations"][0]["item"].endswith(EVIL)


def test_summaries_show_their_items(replayed, monkeypatch):
    from perennial.replay import summaries

    monkeypatch.setattr(summaries, "item_ids", lambda _store, items: [f"[/]{EVIL}"] * len(items))
    monkeypatch.setenv("COLUMNS", "300")
    printed = call_well("memory", "show", "--store", replayed[0]).stdout
    assert_visible(printed)
    assert "[/]" + SEEN in printed


def test_a_page_shows_it(evil_folder: Path, tmp_path: Path) -> None:
    source = next(evil_folder.glob("day-0*"))
    options = ("--periods", "2", "--model", "pop", "--strategy", "individual")
    call_well("replay", source, "--store", tmp_path / "s.duckdb", *options, "--report", tmp_path)
    for path in (tmp_path / "report.html", *tmp_path.rglob("*.svg")):
        assert CONTROLS.search(path.read_text()) is None
    assert r"\x1b]0;owned\x07" in (tmp_path / "report.html").read_text()
    json.loads((tmp_path / "report.json").read_text())


def test_a_terminal_gets_styles_and_bars_but_no_controls_of_texts() -> None:
    screen = io.StringIO()
    console = TerminalConsole(file=screen, force_terminal=True, color_system="standard", width=300)
    console.print("[bold]title[/bold] \x1b]0;owned\x07", highlight=False)
    with show_bar(console) as bar:
        bar(f"reading {EVIL}", 1, 2)
    with show_status(console) as status:
        status(f"fitting {EVIL}")
    text = screen.getvalue()
    assert "\x1b[1mtitle\x1b[0m" in text
    for sequence in ("\x1b]0;", "\x1b[2J", "\x9b", "\u202e", "\x07"):
        assert sequence not in text
    for words in (r"reading \x1b]0;owned\x07\x1b[31m", "50%", r"fitting \x1b]0;owned\x07\x1b[31m"):
        assert words in text
    assert "\nfaked" not in text


def test_the_log_of_the_service_has_a_line_for_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(access=False)
    try:
        LOG.warning("%s; the previous model stays", EVIL)
    finally:
        LOG.handlers.clear()
    printed = capsys.readouterr().err
    assert_visible(printed)
    assert SEEN in printed


def test_nothing_is_printed_in_another_way() -> None:
    """Lines go through `echo`, all but JSON, and tables through `TerminalConsole`."""
    strays = []
    for path in [ROOT / "cli.py", *(ROOT / "replay").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            call_of = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            allowed = path.name in ("errors.py", "local.py", "cli.py")
            shows_json = "json.dumps(" in ast.unparse(node) if call_of == "click.echo" else False
            if call_of in ("click.echo", "print", "Console") and not allowed and not shows_json:
                strays.append(f"{path.name}:{node.lineno}")
    assert strays == []
