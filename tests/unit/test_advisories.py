"""Advisories in OSV form: which hold for a lock, and what is said of files that are none."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from bench.cli import main
from bench.errors import UsageError
from bench.score import advisories, supply


def advisory(name: str, *, events=(), versions=(), **more) -> dict:
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}] if events else []
    package = {"ecosystem": "PyPI", "name": name}
    affected = [{"package": package, "ranges": ranges, "versions": list(versions)}]
    return {"id": "X-1", "modified": "2026-10-01T00:00:00Z", "affected": affected, **more}


RANGE = ({"introduced": "1.0"}, {"fixed": "2.0"}, {"introduced": "3.0"}, {"last_affected": "3.5"})


@pytest.mark.parametrize(
    ("version", "held"),
    [
        ("0.9", False),
        ("1.0", True),
        ("1.9.9", True),
        ("2.0", False),
        ("3.2", True),
        ("3.5", True),
        ("3.5.1", False),
        ("1.4+cpu", True),
    ],
)
def test_ranges(version, held):
    assert advisories.holds(advisory("Some_Package", events=RANGE), "some-package", version) is held


def test_listed_versions_other_packages_and_withdrawn():
    listed = advisory("torch", versions=["2.1.0"])
    assert advisories.holds(listed, "torch", "2.1.0+cpu")
    assert not advisories.holds(listed, "torch", "2.1.1")
    assert not advisories.holds(listed, "numpy", "2.1.0")
    assert not advisories.holds({**listed, "withdrawn": "2026-01-01"}, "torch", "2.1.0")


def test_they_are_counted_for_each_lock(tmp_path):
    version = supply.packages("mxnet")["mxnet"]
    path = tmp_path / "known.json"
    path.write_text(json.dumps({"vulns": [advisory("mxnet", versions=[version])]}))
    found = {one.subject.backend: one for one in advisories.security(["mxnet", "torch"], path)}
    assert found["mxnet"].value == 1
    assert found["torch"].value == 0
    assert found["torch"].share == 1
    assert "X-1" in found["mxnet"].subject.rests_on
    assert "2026-10-01" in found["mxnet"].subject.rests_on[0]


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"id": 1, "affected": []}', "[" * 9999])
def test_what_is_no_advisory_is_one_line(text, tmp_path, capsys):
    path = tmp_path / "known.json"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        list(advisories.read(path))
    assert str(path) in str(error.value)
    assert main(["score", "--draws", "100", "--advisories", str(tmp_path / "no"), "x.csv"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


class Database(http.server.BaseHTTPRequestHandler):
    """OSV's interface: it knows one advisory, of mxnet."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = advisory("mxnet", events=({"introduced": "0"},), summary="bad", aliases=["CVE-1"])
        known["published"] = known["modified"]
        found = {"vulns": [known]} if asked["package"]["name"] == "mxnet" else {}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Silent."""


@pytest.fixture
def database():
    with http.server.HTTPServer(("127.0.0.1", 0), Database) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def test_they_are_fetched_by_pip_audit_and_kept(tmp_path, database, capsys):
    out = tmp_path / "fetched.json"
    assert main(["advisories", "--osv-url", database, "--out", str(out)]) == 0
    assert "mxnet: 1 advisories" in capsys.readouterr().out
    found = {one.subject.backend: one for one in advisories.security(["mxnet", "torch"], out)}
    assert (found["mxnet"].value, found["torch"].value) == (1, 0)
    assert main(["advisories", "--osv-url", database, "--out", str(out)]) == 2, "nothing is lost"


def test_no_network_is_one_line(tmp_path, capsys):
    nobody = "http://127.0.0.1:9/v1/query"  # the discard port: nothing listens
    assert main(["advisories", "--osv-url", nobody, "--out", str(tmp_path / "x.json")]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "pip-audit got no answer" in said
    assert "--advisories" in said
    assert not (tmp_path / "x.json").exists()
