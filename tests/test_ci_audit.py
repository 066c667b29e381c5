"""The audit distinguishes findings from a service that does not answer, and checks the pins."""

import importlib.util
import json
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
HASH = "--hash=sha256:" + "0" * 64


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    loader = SourceFileLoader("ci_audit", str(ROOT / ".ci" / "audit"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def report(**vulns: list[str]) -> str:
    """Output of pip-audit: weaknesses by package."""
    found = [
        {
            "name": name,
            "version": "1.0",
            "vulns": [{"id": one, "fix_versions": ["1.1"], "aliases": []} for one in weaknesses],
        }
        for name, weaknesses in vulns.items()
    ]
    return json.dumps({"dependencies": found, "fixes": []})


class TestPins:
    def test_our_own_are_sound(self, audit):
        assert audit.check_pins((ROOT / "requirements.txt").read_text()) == []

    @pytest.mark.parametrize(
        "line",
        [
            "a-b==1.0",
            "a-b>=1.0 " + HASH,
            "a-b==1.0 --hash=md5:0",
            "a-b==1.0 --hash=sha256:0",
            "a-b @ git+ssh://host/a.git " + HASH,
            "./folder " + HASH,
            "-e .",
            "--extra-index-url somewhere",
        ],
    )
    def test_what_is_no_pin_with_a_hash_is_told(self, audit, line):
        good = f"c==2.0 ; python_full_version < '3.12' \\\n    {HASH} \\\n    {HASH}\n    # via d\n"
        assert audit.check_pins(good) == []
        (told,) = audit.check_pins(f"{good}{line}\n{good}")
        assert told.startswith(line.split(" --hash")[0])


class TestVerdict:
    def test_nothing_found(self, audit):
        assert audit.judge(0, report(a=[], b=[]), "") == (
            ["2 pins audited, 0 known weaknesses"],
            False,
        )

    def test_a_finding_fails(self, audit):
        lines, fails = audit.judge(1, report(a=[], b=["CVE-1"]), "Found 1 known vulnerability")
        assert fails
        assert lines[0] == "b 1.0: CVE-1, mended in 1.1"

    def test_a_pin_that_could_not_be_asked_about_is_told(self, audit):
        text = json.dumps({"dependencies": [{"name": "a", "skip_reason": "unknown"}]})
        lines, fails = audit.judge(0, text, "")
        assert lines == ["a: not audited, unknown", "0 pins audited, 0 known weaknesses"]
        assert not fails

    def test_a_service_that_does_not_answer_is_skipped_and_said(self, audit):
        errors = "Traceback\nrequests.exceptions.ConnectionError: failed to resolve"
        (line,), fails = audit.judge(1, "", errors)
        assert line.startswith("SKIPPED, known weaknesses were not looked for")
        assert not fails

    @pytest.mark.parametrize("output", ["", "[]", "{}"])
    def test_an_audit_that_breaks_fails(self, audit, output):
        (line,), fails = audit.judge(2, output, "usage: pip-audit\nerror: unknown option")
        assert line == "pip-audit failed: error: unknown option"
        assert fails


def test_ci_runs_it_last():
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "step .ci/audit"
