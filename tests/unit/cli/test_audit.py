"""dtcxen audit: what is told of changing calls, and that nobody rewrites it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap import operations
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.cli import main as cli
from dtcxen_soap.journal import Journal
from dtcxen_soap.settings import load
from dtcxen_soap.vps import VpsId


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "dtc-xen.conf"
    path.write_text(f"config_dir={tmp_path}\nstate_dir={tmp_path}\nprovisioning_mount_point={tmp_path}\nxen_config_dir={tmp_path}\ntoolstack=none\n")
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(str(tmp_path / "journal.sqlite"))
    made.audit(caller="dtc-xen", peer="192.0.2.1", operation="killVPS", vps=VpsId(1), detail="Remove.", outcome="done", job=3, arguments="vps=01")
    made.audit(caller="xen02", peer="192.0.2.2", operation="setSshKey", vps=VpsId(2), detail="", outcome="Busy: later", arguments="vps=02 keys='ssh-rsa AAAA'")
    made.audit(caller="node", peer="", operation="housekeeping", vps=None, detail="", outcome="nothing to do")
    yield made
    made.close()


def run(capsys: pytest.CaptureFixture[str], config: Path, *words: str) -> tuple[int, str, str]:
    code = cli.main(("audit", *words, "--config", str(config)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_rows_are_told_newest_first(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal) -> None:
    code, out, err = run(capsys, config)
    head, *rows = out.splitlines()
    assert (code, err, len(rows)) == (0, "", 3) and head.split()[:5] == ["at", "caller", "peer", "operation", "vps"]
    assert "housekeeping" in rows[0] and "keys='ssh-rsa AAAA'" in rows[1] and "192.0.2.1" in rows[2]


def test_one_vps_and_a_limit(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal) -> None:
    rows = json.loads(run(capsys, config, "xen02", "--json")[1])["audit"]
    assert [(row["caller"], row["vps"], row["outcome"], row["job"], row["arguments"]) for row in rows] == [
        ("xen02", "02", "Busy: later", None, "vps=02 keys='ssh-rsa AAAA'")]
    assert len(json.loads(run(capsys, config, "--json", "--limit", "1")[1])["audit"]) == 1


@pytest.mark.parametrize("words", [("xen",), ("",), ("0",), ("--limit", "0"), ("--limit", "many"), ("--limit", "9999999999")])
def test_what_is_not_a_vps_or_a_number_is_refused(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal, words: tuple[str, ...]) -> None:
    code, out, err = run(capsys, config, *words)
    assert code == 2 and out == "" and err


def test_a_node_that_never_served_has_none(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    assert run(capsys, config) == (0, "", "no changing calls yet\n")
    assert not (config.parent / "journal.sqlite").exists()


def test_a_row_is_neither_changed_nor_dropped(config: Path, kept: Journal) -> None:
    with sqlite3.connect(kept.path) as other:
        for statement in ("UPDATE audit SET outcome = 'done'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="only grows"):
                other.execute(statement)
    other.close()
    assert len(kept.audited()) == 3


def said(operation: str, *values: tuple[str, str], rpc: bool = False) -> str:
    settings = load("NETMASK=255.255.255.0\nGATEWAY=192.0.2.1\nDNS=192.0.2.53\n", "dtc-xen.conf").settings
    return operations.prepare(operation, values, settings, Caller("dtc-xen", Role.ADMIN, "192.0.2.1"), rpc=rpc).arguments


def test_what_was_said_is_kept_without_its_secrets() -> None:
    disk = said("setupVPSDisk", ("vps", "xen01"), ("diskSizeMib", "2048"), ("swapSizeMib", "512"), ("imageType", "lvm"))
    assert disk == "vps=01 diskSizeMib=2048 swapSizeMib=512 imageType=lvm"
    assert said("setSoapPassword", ("vps", "01"), ("password", "geheim-geheim")) == "vps=01 password=(redacted)"
    old = said("reinstallVPSos", ("vpsname", "xen07"), ("ostype", "debian"), ("hddsize", "2048"), ("ramsize", "256"), ("ipaddr", "192.0.2.7"), ("password", "geheim"), rpc=True)
    assert "ipaddr=192.0.2.7/24" in old and "geheim" not in old and "vps=07" in old and "(redacted)" in old


def test_what_is_long_or_has_newlines_stays_one_short_line() -> None:
    keys = "\n".join(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA key{number}" for number in range(9))
    told = said("setSshKey", ("vps", "01"), ("keys", keys))
    assert "\n" not in told and len(told) < 300 and "characters)" in told
