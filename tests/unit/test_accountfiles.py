"""htpasswd, homes and keys on real files; and what shadow's programs are asked. Real users are in tests/integration/test_console_users.py."""

from __future__ import annotations

import os
import pwd
import stat
import threading
import time
from pathlib import Path

import pytest

from dtcxen_soap import accountfiles, nodelock
from dtcxen_soap.accountfiles import make_home, remove_below, set_htpasswd, with_line, write_keys
from dtcxen_soap.errors import Busy, Failed
from dtcxen_soap.plans import MakeAccount
from dtcxen_soap.processes import Ran

ME = pwd.getpwuid(os.geteuid()).pw_name
KEYS = ("ssh-ed25519 AAAAone", "ssh-rsa AAAAtwo me")


# -- htpasswd -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "hashed", "after"), [
    (b"", "$2b$x", b"xen1:$2b$x\n"),
    (b"admin:a\n# xen1: no user\nxen10:b\n", "h", b"admin:a\n# xen1: no user\nxen10:b\nxen1:h\n"),
    (b"xen1:old\nxen10:b\nxen1:older\n", "h", b"xen1:h\nxen10:b\n"),
    (b"xen1:old\nxen10:b\n  xen1:older\nxen11:c", None, b"xen10:b\nxen11:c\n"),
    (b"a:\xff\r\nxen1:x\r\nb:c", "h", b"a:\xff\r\nxen1:h\nb:c\n"),
    (b"xen10:b\nnoxen1:c\nxen1-iso:d\n", None, b"xen10:b\nnoxen1:c\nxen1-iso:d\n"),
])
def test_one_line_changes(before: bytes, hashed: str | None, after: bytes) -> None:
    assert with_line(before, "xen1", hashed) == after


def test_mode_and_link_of_the_file_stay(tmp_path: Path) -> None:
    path, link, lock = tmp_path / "real", tmp_path / "htpasswd", str(tmp_path / "lock")
    path.write_text("admin:a\n")
    path.chmod(0o640)
    link.symlink_to("real")
    set_htpasswd(str(link), "xen01", "h", lock)
    assert link.is_symlink() and path.read_text() == "admin:a\nxen01:h\n" and path.stat().st_mode & 0o777 == 0o640
    before = path.stat().st_ino
    set_htpasswd(str(link), "xen02", None, lock)
    assert path.stat().st_ino == before, "nothing to do, nothing written"


def test_a_new_file_is_private(tmp_path: Path) -> None:
    set_htpasswd(str(tmp_path / "htpasswd"), "xen01", "h", str(tmp_path / "lock"))
    assert (tmp_path / "htpasswd").stat().st_mode & 0o777 == 0o600


def test_no_line_is_lost_between_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and write of one call must not have another's write between them."""
    monkeypatch.setattr(accountfiles, "with_line", lambda *words: (time.sleep(0.01), with_line(*words))[1])
    path, lock = tmp_path / "htpasswd", str(tmp_path / "lock")
    threads = [threading.Thread(target=set_htpasswd, args=(str(path), f"xen{number}", "h", lock)) for number in range(10, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(path.read_text().splitlines()) == 20


def test_a_lock_that_others_hold_is_busy_and_a_link_no_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with nodelock.held(path), pytest.raises(Busy, match="was held by others for 0 seconds"), nodelock.held(path, 0.1):
        pass
    with nodelock.held(path, 0.1):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(OSError), nodelock.held(str(tmp_path / "link")):
        pass
    assert not (tmp_path / "elsewhere").exists()


# -- homes ----------------------------------------------------------------------------------------


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    """The directory of homes, and beside it what no link in a home must lead to."""
    (tmp_path / "homes").mkdir(mode=0o755)
    (tmp_path / "other").mkdir(mode=0o700)
    (tmp_path / "other/authorized_keys").write_text("another's\n")
    return tmp_path / "homes"


def untouched(homes: Path) -> bool:
    other = homes.parent / "other"
    return other.stat().st_mode & 0o777 == 0o700 and [path.name for path in other.iterdir()] == ["authorized_keys"] and (other / "authorized_keys").read_text() == "another's\n"


def test_a_home_is_roots_and_only_iso_is_the_uploaders(homes: Path) -> None:
    make_home(str(homes), "xen01", ME)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (homes / "xen01", homes / "xen01/.ssh", homes / "xen01/iso")}
    assert modes == {"xen01": 0o755, ".ssh": 0o755, "iso": 0o700}
    make_home(str(homes), "xen02", "")
    assert [path.name for path in (homes / "xen02").iterdir()] == [".ssh"]


def test_isos_that_are_there_stay(homes: Path) -> None:
    (homes / "xen01/iso").mkdir(parents=True, mode=0o777)
    (homes / "xen01/iso/a.iso").write_text("x")
    (homes / "xen01/old.iso").write_text("y")
    make_home(str(homes), "xen01", ME)
    assert (homes / "xen01/iso/a.iso").read_text() == "x" and (homes / "xen01/old.iso").read_text() == "y"
    assert (homes / "xen01/iso").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["xen01", "xen01/.ssh", "xen01/iso", "xen01/.ssh/authorized_keys"])
@pytest.mark.parametrize("what", ["link", "dangling link", "file", "fifo", "directory"])
def test_what_stands_in_the_place_is_replaced_and_never_followed(homes: Path, name: str, what: str) -> None:
    place = homes / name
    place.parent.mkdir(parents=True, exist_ok=True)
    match what:
        case "link":
            place.symlink_to("../" * name.count("/") + "../other" + ("/authorized_keys" if name.endswith("keys") else ""))
        case "dangling link":
            place.symlink_to(homes.parent / "made-by-us")
        case "file":
            place.write_text("x")
            os.link(homes.parent / "other/authorized_keys", homes.parent / "second") if name.endswith("keys") else None
        case "fifo":
            os.mkfifo(place)
        case "directory":
            place.mkdir()
            (place / "inside").write_text("x")
    make_home(str(homes), "xen01", ME)
    write_keys(str(homes), "xen01", KEYS)
    assert untouched(homes) and not (homes.parent / "made-by-us").exists()
    assert (homes / "xen01/.ssh/authorized_keys").read_text() == "".join(f"{key}\n" for key in KEYS)
    for path in (homes / "xen01", homes / "xen01/.ssh", homes / "xen01/iso"):
        assert path.is_dir() and not path.is_symlink()


def test_a_second_name_of_anothers_file_is_not_written_through(homes: Path) -> None:
    (homes / "xen01/.ssh").mkdir(parents=True)
    os.link(homes.parent / "other/authorized_keys", homes / "xen01/.ssh/authorized_keys")
    write_keys(str(homes), "xen01", KEYS)
    assert untouched(homes)


def test_keys_are_alone(homes: Path) -> None:
    """authorized_keys2, of the original, would let earlier keys in; rc and environment are commands and words of an earlier owner."""
    directory = homes / "xen01/.ssh"
    directory.mkdir(parents=True)
    for name in ("authorized_keys2", "rc", "environment"):
        (directory / name).write_text("x")
    (directory / "sub").mkdir()
    (directory / "link").symlink_to("../../../other")
    write_keys(str(homes), "xen01", KEYS)
    assert [path.name for path in directory.iterdir()] == ["authorized_keys"] and untouched(homes)
    assert (directory / "authorized_keys").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("mode", [0o757, 0o775, 0o1777])
def test_homes_that_others_may_change_get_no_keys(homes: Path, mode: int) -> None:
    """The original made this directory 0757."""
    homes.chmod(mode)
    with pytest.raises(PermissionError, match="others than root"):
        write_keys(str(homes), "xen01", KEYS)
    with pytest.raises(PermissionError):
        make_home(str(homes), "xen01", "")


def test_a_home_goes_with_all_that_is_in_it_and_no_more(homes: Path) -> None:
    deep = homes / "xen01/iso/a/b"
    deep.mkdir(parents=True)
    (deep / "c.iso").write_text("x")
    (deep / "link").symlink_to(homes.parent / "other")
    (homes / "xen01/iso/out").symlink_to("../../../other")
    (homes / "xen010").mkdir()
    remove_below(str(homes), "xen01")
    assert [path.name for path in homes.iterdir()] == ["xen010"] and untouched(homes)
    remove_below(str(homes), "xen01")
    remove_below(str(homes / "not there"), "xen01")


def test_a_home_that_is_a_link_goes_alone(homes: Path) -> None:
    (homes / "xen01").symlink_to("../other")
    remove_below(str(homes), "xen01/authorized_keys")
    assert untouched(homes)
    remove_below(str(homes), "xen01")
    assert untouched(homes) and not list(homes.iterdir())


@pytest.mark.parametrize("path", ["..", "../other", "xen01/../../other", "", "xen01/"])
def test_no_path_leads_out(homes: Path, path: str) -> None:
    with pytest.raises(OSError):
        remove_below(str(homes), path)
    assert untouched(homes)


def test_what_is_mounted_in_a_home_is_not_removed(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (homes / "xen01/iso").mkdir(parents=True)
    monkeypatch.setattr(accountfiles.mounts, "below", lambda path: (f"{path}/iso",))
    with pytest.raises(OSError, match="mounted"):
        remove_below(str(homes), "xen01")
    assert (homes / "xen01/iso").is_dir()


# -- shadow's programs ----------------------------------------------------------------------------


class Shadow:
    """Answers in the place of shadow's programs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: str = "/homes/xen01") -> None:
        self.argvs: list[tuple[str, ...]] = []
        self.given: list[str] = []
        self.codes: dict[str, list[int]] = {}
        self.ended: list[int] = []
        self.users = {"xen01": pwd.struct_passwd(("xen01", "x", 1001, 100, "", home, "/bin/sh"))}
        monkeypatch.setattr(accountfiles.processes, "report", self.report)
        monkeypatch.setattr(accountfiles.processes, "run", self.run)
        monkeypatch.setattr(accountfiles.processes, "end_user", self.ended.append)
        monkeypatch.setattr(accountfiles, "_user", self.users.get)

    def report(self, argv: tuple[str, ...], seconds: int) -> tuple[int, str]:
        self.argvs.append(argv)
        codes = self.codes.get(argv[0], [])
        return (codes.pop(0), "it said so") if codes else (0, "")

    def run(self, step: object, say: object, watch: object) -> Ran:
        self.argvs.append(step.argv)  # type: ignore[attr-defined]
        self.given.append(step.stdin.reveal())  # type: ignore[attr-defined]
        return Ran(self.codes.get("chpasswd", [0])[0], "it said so")


@pytest.fixture
def shadow(monkeypatch: pytest.MonkeyPatch) -> Shadow:
    return Shadow(monkeypatch)


def account(user: str, lock: Path) -> MakeAccount:
    return MakeAccount(why="x", user=user, group="xenusers", home="/homes/xen01", login="/console", comment="c", lock=str(lock))


def test_a_new_user_has_no_password_and_no_subordinate_ids(shadow: Shadow, tmp_path: Path) -> None:
    accountfiles.make(account("xen02", tmp_path / "lock"))
    group, user = shadow.argvs
    assert group == ("groupadd", "--system", "--force", "--", "xenusers") and user[0] == "useradd" and user[-2:] == ("--", "xen02")
    assert user[user.index("--password") + 1] == "*" and "SUB_UID_COUNT=0" in user and "--no-create-home" in user


@pytest.mark.parametrize(("home", "moved"), [("/homes/xen01", False), ("/homes/old", True)])
def test_a_user_that_is_there_is_mended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str, moved: bool) -> None:
    """A home is only named when it differs: usermod changes it for nobody who is signed in."""
    shadow = Shadow(monkeypatch, home)
    accountfiles.make(account("xen01", tmp_path / "lock"))
    assert shadow.argvs[1][0] == "usermod" and ("--home" in shadow.argvs[1]) is moved and "useradd" not in {argv[0] for argv in shadow.argvs}


def test_a_user_is_closed_then_ended_then_removed(shadow: Shadow, tmp_path: Path) -> None:
    shadow.codes["userdel"] = [8, 8, 0]
    accountfiles.remove("xen01", str(tmp_path / "lock"))
    assert [argv[0] for argv in shadow.argvs] == ["usermod", "userdel", "userdel", "userdel"] and shadow.ended == [1001] * 3
    accountfiles.remove("xen99", str(tmp_path / "lock"))
    assert len(shadow.argvs) == 4, "gone already"


def test_what_the_programs_refuse_is_told(shadow: Shadow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accountfiles, "_REMOVE_SECONDS", 0.0)
    shadow.codes |= {"userdel": [8, 8], "useradd": [9], "chpasswd": [1]}
    for act in (lambda: accountfiles.remove("xen01", str(tmp_path / "lock")), lambda: accountfiles.make(account("xen02", tmp_path / "lock")),
                lambda: accountfiles.set_password(("xen01",), "$6$hash", str(tmp_path / "lock"))):
        with pytest.raises(Failed, match="ended with code") as failed:
            act()
        assert "$6$" not in failed.value.in_full()


def test_a_hash_goes_by_standard_input(shadow: Shadow, tmp_path: Path) -> None:
    accountfiles.set_password(("xen01", "xen01-iso"), "$6$hash", str(tmp_path / "lock"))
    assert shadow.argvs == [("chpasswd", "--encrypted")] and shadow.given == ["xen01:$6$hash\nxen01-iso:$6$hash\n"]
