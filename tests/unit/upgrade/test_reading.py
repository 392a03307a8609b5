"""How an old node is read: nothing is changed, nothing that an owner planted is followed, and no pickle is ever opened."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import re
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap.cli import main as cli
from dtcxen_soap.cli.doctor import tls_trouble, usable
from dtcxen_soap.survey import upgrade as survey_upgrade
from dtcxen_soap.tree import Tree
from dtcxen_soap.upgrade.finding import Severity
from tests.oldnode import CONF, HASHES, HOMES, HTPASSWD, MNT, PASSWORD, PROGRAM, STATE, OldTree
from tests.unit.upgrade.test_findings import CASES


class _Listener:
    """Python's own events of opening and changing files, while it is told to listen."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.heard is not None:
            self.heard.append((event, arguments))


_listener = _Listener()


@pytest.fixture
def events() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """What happened since."""
    _listener.heard = []
    yield _listener.heard
    _listener.heard = None


@pytest.fixture
def old(tmp_path: Path) -> OldTree:
    return OldTree(tmp_path)


class Hostile:
    """Whoever unpickles this makes a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.directory),)


def spoil_all(old: OldTree) -> None:
    """As much of CASES as goes together."""
    alone = {"no-settings", "htpasswd-missing", "certificate-missing", "certificate-unusable", "config-unreadable", "volumes-unknown", "config-foreign-disk"}
    for check in sorted(set(CASES) - alone):
        try:
            CASES[check].spoil(old)
        except (AssertionError, FileNotFoundError):
            continue


def test_a_pickle_is_counted_and_never_opened(old: OldTree, tmp_path: Path, events: list[tuple[str, tuple[Any, ...]]]) -> None:
    trap = tmp_path.parent / f"{tmp_path.name}-sprung"
    hostile = pickle.dumps(Hostile(trap))
    old.put(f"{STATE}/perfdata/sample-1262304000.pickle", hostile)
    os.mkfifo(old.at(f"{STATE}/perfdata/sample-1262304060.pickle"))
    events.clear()
    (finding,) = (finding for finding in old.findings() if finding.check == "samples")
    assert f"2 files of performance data, {len(hostile)} bytes, the oldest of 2010-01-01" in finding.what
    opened = [str(arguments[0]) for event, arguments in events if event == "open"]
    assert "perfdata" in opened and not [path for path in opened if path.endswith(".pickle")]
    assert not trap.exists() and not [event for event, _ in events if event.startswith("pickle")]
    pickle.loads(hostile)
    assert trap.is_dir(), "the trap works"


def test_looking_changes_nothing(old: OldTree, events: list[tuple[str, tuple[Any, ...]]]) -> None:
    spoil_all(old)
    before = old.snapshot()
    events.clear()
    assert len(old.findings()) > 40
    changing = re.compile(r"os\.(remove|rename|mkdir|rmdir|link|symlink|chmod|chown|truncate|utime|setxattr|mknod)|shutil\..*|subprocess\..*|socket\.connect")
    assert not [event for event in events if changing.fullmatch(event[0])]
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    assert not [arguments for event, arguments in events if event == "open" and isinstance(arguments[2], int) and arguments[2] & writing]
    assert old.snapshot() == before


def test_what_an_owner_planted_is_named_and_not_followed(old: OldTree, tmp_path: Path, events: list[tuple[str, tuple[Any, ...]]]) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}-secret"
    (secret / "sub").mkdir(parents=True)
    (secret / "authorized_keys").write_text("ssh-rsa STOLEN\n")
    (secret / "outside.iso").write_text("")
    for name in ("xen01/.ssh/id", "xen01/a.iso"):
        old.link(f"{HOMES}/{name}", str(secret))
    os.mkfifo(old.at(f"{HOMES}/xen01/pipe.iso"))
    old.link(f"{HOMES}/xen02", str(secret))
    old.put("/etc/xen/xen02", (old.at("/etc/xen/xen01")).read_text().replace("xen01", "xen02").replace("10:01", "10:02"))
    old.put(f"{HOMES}/xen03/x", "")
    old.link(f"{HOMES}/xen03/.ssh", "/etc/dtc-xen")
    old.put("/etc/dtc-xen/authorized_keys", "ssh-rsa THEIRS\n")
    node = old.look()
    homes = {home.file.name: home for home in node.homes}
    assert set(homes["xen01"].strange) == {"xen01/.ssh/id", "xen01/a.iso", "xen01/pipe.iso"} and homes["xen01"].isos == ("net.iso",)
    assert homes["xen02"].strange == ("xen02",) and not homes["xen02"].isos and not homes["xen02"].keys
    assert homes["xen03"].strange == ("xen03/.ssh",) and not homes["xen03"].keys


def test_no_link_leads_out_of_a_copy(old: OldTree, tmp_path: Path) -> None:
    """In a copy, /etc/xen/xen02 -> /outside means the copy's /outside."""
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_text("memory = 7\n")
    old.link("/etc/xen/xen02", str(outside))
    old.link("/etc/xen/xen03", "/../../../../../../../../../etc/xen/xen01")
    configs = {config.file.name: config for config in old.look().configs}
    assert configs["xen02"].trouble == "it leads to no file" and configs["xen03"].memory == 512


@pytest.mark.parametrize("line", ["", "cert_passphrase=hush-hush\n", "cert_passphrase=$hush\n", "cert_passphrase='hush\n"])
def test_nothing_secret_is_in_a_finding(old: OldTree, line: str) -> None:
    old.add(CONF, line)
    old.put("/etc/dtc-xen/soap.conf", "soap_server_pass_phrase=hush-hush-too\n")
    old.add("/etc/xen/xen01", "vncpasswd='hush-vnc'\nvfb=['type=vnc,vncpasswd=hush-vfb']\n")
    old.add(HTPASSWD, f"xen09:{HASHES['des']}\nxen08:{PASSWORD}\n")
    findings = old.findings()
    told = repr(findings) + repr(old.look())
    assert not [secret for secret in ("hush", PASSWORD, *HASHES.values()) if secret in told]
    if not line:
        mend = next(finding.mend for finding in findings if finding.check == "settings-older")
        assert mend == (f"grep '^soap_server_pass_phrase=' /etc/dtc-xen/soap.conf >> {CONF}",)


@pytest.mark.parametrize("text", ["", "\0", "mkos", "\n\n", "mkos\n99999999999999999999\n", "mkos\n-1\n", "\udce9\n1"])
def test_any_state_is_read(old: OldTree, text: str) -> None:
    old.put(f"{STATE}/states/xen01", text)
    assert [finding for finding in old.findings() if finding.check.startswith("state-")]


@pytest.mark.parametrize("path", [
    "/etc/fstab", "/etc/passwd", "/etc/group", "/etc/sudoers", HTPASSWD, "/etc/dtc-xen/soap.conf", "/etc/xen/xen01", CONF, "/proc/net/tcp", "/proc/mounts"])
def test_any_bytes_are_read(old: OldTree, path: str) -> None:
    old.put(path, b"\xff\xfe:\0:=\xe9 \x1b[2J\n" * 20 + b"a b c d e f g h i j k\n:::::::\n=\n")
    assert old.findings()


def test_the_end_of_a_process_between_two_looks(old: OldTree) -> None:
    old.at("/proc/5").mkdir(parents=True)
    old.process(6, "stunnel", listens=8089)
    old.at("/proc/6/fd/3").unlink()
    assert not [finding for finding in old.findings() if finding.check == "port-taken"]


def test_handles_that_even_root_may_not_see(old: OldTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whoever else listens that is enough; when nobody that is seen does, it is one of these."""
    target = Tree.target

    def guarded(tree: Tree, path: str) -> str:
        if path.startswith("/proc/1/fd/"):
            raise PermissionError(errno.EACCES, "Permission denied", "0")
        return target(tree, path)

    monkeypatch.setattr(Tree, "target", guarded)
    old.process(1, "init")
    old.link("/proc/1/fd/0", "socket:[8]")
    assert not [finding for finding in old.findings() if finding.check == "port-taken"]
    old.process(6, "stunnel", listens=8089)
    assert [finding.mend for finding in old.findings() if finding.check == "port-taken"] == [("kill 6",)]
    old.at("/proc/6/fd/3").unlink()
    assert [finding.mend for finding in old.findings() if finding.check == "port-taken"] == [("ss -ltnp 'sport = :8089'",)]


@pytest.mark.parametrize(("number", "fails"), [(errno.ESRCH, False), (errno.ENOENT, False), (errno.EACCES, True)])
def test_a_process_may_go_but_not_be_hidden(old: OldTree, monkeypatch: pytest.MonkeyPatch, number: int, fails: bool) -> None:
    read = Tree.read_text

    def broken(tree: Tree, path: str, limit: int = 1 << 20) -> str | None:
        if path.endswith("/cmdline"):
            raise OSError(number, os.strerror(number), path)
        return read(tree, path, limit)

    old.process(6, "stunnel")
    monkeypatch.setattr(Tree, "read_text", broken)
    with pytest.raises(PermissionError) if fails else contextlib.nullcontext():
        assert not old.look().processes


# -- the command ----------------------------------------------------------------------------------


def doctor(old: OldTree, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.main(("doctor", "--root", str(old.directory), *words))
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_copy_of_a_good_node(old: OldTree, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = doctor(old, capsys)
    assert code == 0 and err.endswith("dtcxen doctor: 0 problems, 1 warning, 8 notes; nothing was changed\n")
    assert "warning: lvs: the logical volumes are not known: only a copy of the node's files is looked at\n    left as it is; to change that:\n        lvs\n" in out
    assert "note: /etc/xen/xen01: used as it stands: 512 MiB;" in out and "\n    taken over\n" in out


def test_a_problem_is_told_by_the_exit_code_too(old: OldTree, capsys: pytest.CaptureFixture[str]) -> None:
    old.put("/etc/xen/xen01", PROGRAM)
    code, out, _ = doctor(old, capsys)
    assert code == 1 and out.startswith("problem: /etc/xen/xen01: xl refuses lines 11, 12, 13")


def test_the_json_says_the_same(old: OldTree, capsys: pytest.CaptureFixture[str]) -> None:
    old.at(HTPASSWD).chmod(0o644)
    code, out, err = doctor(old, capsys, "--json")
    told = json.loads(out)
    assert (code, err, told["problems"], told["warnings"], told["notes"]) == (1, "", 1, 1, 8)
    assert told["findings"][0] == {
        "check": "htpasswd-open", "severity": "problem", "where": HTPASSWD, "what": "others than root can read the hashes and guess (0644): also change the passwords",
        "takenOver": False, "mend": [f"chmod 600 {HTPASSWD}"]}
    assert len(told["findings"]) == 10 and {finding["severity"] for finding in told["findings"]} <= {severity.value for severity in Severity}


def test_a_terminal_obeys_no_name_of_an_old_node(old: OldTree, capsys: pytest.CaptureFixture[str]) -> None:
    old.put(f"{MNT}/xen01\x1b[2J\u202e.img", "")
    old.put(f"{MNT}/01.log", "")
    old.put("/etc/dtc-xen/soap.conf", "DNS='\x1b[2J\udce9 it\\'\n")
    _, out, err = doctor(old, capsys)
    assert out.isascii() and not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out + err), "where and mend too"
    line = next(line.strip().partition(" >> ")[0] for line in out.splitlines() if line.strip().startswith("printf"))
    assert line == r"printf '%s\n' $'DNS=\x27\x1b[2J\xe9 it\x5c\x27'", "and bash makes the very same of it"


def test_another_file_of_settings_in_the_copy(old: OldTree, capsys: pytest.CaptureFixture[str]) -> None:
    old.put("/srv/other.conf", f"htpasswd_file=/srv/htpasswd\nstate_dir={STATE}\n")
    code, out, _ = doctor(old, capsys, "--config", "/srv/other.conf")
    assert code == 1 and "problem: /srv/htpasswd: there is no such file" in out


def test_where_there_is_nothing_to_look_at(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(("doctor", "--root", "/nonesuch")) == 2
    assert "not a directory" in capsys.readouterr().err
    monkeypatch.setattr("dtcxen_soap.dom0.Dom0.is_root", lambda self: False)
    assert cli.main(("doctor",)) == 1
    assert "only root" in capsys.readouterr().err


def test_a_copy_is_not_asked_about_its_volumes_or_devices(old: OldTree) -> None:
    old.add("/etc/fstab", f"/dev/mapper/vg0-xen09 {MNT}/09 ext3 noauto 0 0\n")
    old.replace("/etc/xen/xen01", f"file:{MNT}/xen01.img", "phy:/dev/vg0/xen01")
    old.machine.breaks["capture"] = AssertionError("a command was run")
    node = survey_upgrade.look(old.machine, usable(survey_upgrade.conf(old.machine, CONF, "/x")), CONF, "/x", tls_trouble)
    assert node.volumes_trouble and not node.configs[0].lacking and [line.there for line in node.fstab] == [True]


def test_the_modes_are_those_of_the_files(old: OldTree) -> None:
    old.at(HTPASSWD).chmod(0o604)
    found = old.look().htpasswd
    assert found and found.mode == 0o604 and stat.S_IMODE(old.at(HTPASSWD).stat().st_mode) == 0o604
