"""Console users on a real sshd with real sudo: `ssh xen01@node` opens xen01's console, and nothing else gets anywhere.

Runs in the tests' Debian 13 (tools/debian13.py), whose /etc, /usr, /var and /run are private here.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dtcxen_soap import accounts
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.answers import DisksRemoved
from dtcxen_soap.calls import Call, Kind
from dtcxen_soap.errors import Failed, Missing, Refused
from dtcxen_soap.facts import Facts, NeedAccounts, NeedDomu
from dtcxen_soap.plans import Plan, Run, Step
from dtcxen_soap.vps import VpsId
from dtcxen_soap.wire import htpasswd
from tests.sshnode import ADMIN, STATE, SshNode, private

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.debian13]
PASSWORD, OTHER = "s3cret: $(id) `id` \u20ac", "an0ther one"
KEPT = (f"{STATE}/jobs", f"{STATE}/journal", "/var/log", "/etc/passwd-", "/etc/shadow-")
"""History of the node, which no tenant can see; shadow's programs keep their files as they were before the last change."""
HOME = STATE / "ttyssh_home/xen01"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    scratch = tmp_path_factory.mktemp("node")
    with private(scratch):
        yield scratch


@pytest.fixture(scope="module")
def node(machine: Path) -> Iterator[SshNode]:
    """A node with VPS 01, whose owner has a key and a password, and VPS 02."""
    node = SshNode(machine)
    node.serve()
    for vps, key in (("01", "mine"), ("02", "theirs")):
        node.new_vps(vps)
        node.call("setSshKey", vps=vps, keys=node.key(key))
        node.call("setConsolePassword", vps=vps, password=PASSWORD if vps == "01" else OTHER)
    yield node
    node.end()


# -- the console, and nothing else ----------------------------------------------------------------


@pytest.mark.parametrize("how", [{"key": "mine"}, {"password": PASSWORD}], ids=["key", "password"])
def test_the_owner_reaches_the_console(node: SshNode, how: dict[str, str]) -> None:
    code, said = node.console("xen01", **how)
    assert "CONSOLE OF xen01 FOR uid 0 WITH 2 WORDS" in said and "IT SAYS hello" in said and code == 0, said + node.log


@pytest.mark.parametrize("how", [{"key": "theirs"}, {"password": OTHER}, {"password": ""}], ids=["another's key", "another's password", "no password"])
def test_nobody_else_does(node: SshNode, how: dict[str, str]) -> None:
    code, said = node.console("xen01", **how)
    assert code == 255 and "Permission denied" in said and "CONSOLE" not in said


@pytest.mark.parametrize("words", [("id",), ("/bin/sh",), ("/usr/lib/dtcxen-soap/console",), ("sudo /usr/sbin/xl list",), ("-s", "sftp")], ids=" ".join)
def test_no_command_and_no_subsystem(node: SshNode, words: tuple[str, ...]) -> None:
    options, rest = (("-s",), words[1:]) if words[0] == "-s" else ((), words)
    code, said = node.ssh("xen01", *rest, key="mine", options=options)
    assert code == 1 and "uid=" not in said and ("for the console of a VPS only" in said or words[0] == "-s" and not said), said


def test_no_files_by_the_console_account(node: SshNode) -> None:
    code, said = node.sftp("xen01", "ls /", key="mine")
    assert code != 0 and "etc" not in said.replace("/etc/ssh", "")
    scp = subprocess.run(["scp", "-O", *node._options("mine", "-P"), "xen01@127.0.0.1:/etc/passwd", str(node.scratch / "stolen")], capture_output=True, timeout=30)
    assert scp.returncode != 0 and not (node.scratch / "stolen").exists()


@pytest.mark.parametrize("subsystem", ["sftp internal-sftp", "sftp /usr/lib/openssh/sftp-server"])
def test_however_the_admin_configured_sftp(machine: Path, node: SshNode, subsystem: str) -> None:
    other = SshNode.__new__(SshNode)
    other.scratch, other.settings, other.sshd = node.scratch, node.settings, None
    config = machine / "sshd_config"
    config.write_text(f"Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\nSubsystem {subsystem}\nHostKey /etc/ssh/ssh_host_ed25519_key\n")
    other.serve("-f", str(config))
    try:
        assert "CONSOLE OF xen01" in other.console("xen01", key="mine")[1]
        assert other.sftp("xen01", "ls /", key="mine")[0] != 0
        assert other.sftp("xen01-iso", "ls /etc", key="mine")[0] != 0
        assert other.sftp("xen01-iso", "ls /iso", key="mine")[0] == 0
    finally:
        assert other.sshd
        other.sshd.terminate()
        other.sshd.wait(10)


@pytest.mark.parametrize("user", ["xen01", "xen01-iso"])
def test_nothing_is_forwarded(node: SshNode, user: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as inside:
        target = f"127.0.0.1:{inside.getsockname()[1]}"
        code, said = node.ssh(user, key="mine", options=("-W", target))
        assert code != 0 and "forwarding failed" in said, said
        for way in (("-R", f"0:{target}"), ("-R", f"{node.scratch}/socket:{target}")):
            code, said = node.ssh(user, key="mine", options=("-N", "-o", "ExitOnForwardFailure=yes", *way))
            assert code != 0 and "forwarding failed" in said, said
        inside.settimeout(0.2)
        with pytest.raises(TimeoutError):
            inside.accept()
    code, said = node.ssh(user, key="mine", options=("-A", "-tt"), given="hello\n")
    assert not list(Path("/tmp").glob("ssh-*")), "no agent"


LEAKED = [
    ("sudo", "-n", accounts.XL, "console", "xen02"), ("sudo", "-n", accounts.XL, "console", "xen01", "-t", "serial"), ("sudo", "-n", accounts.XL, "console"),
    ("sudo", "-n", accounts.XL, "console", "xen011"), ("sudo", "-n", accounts.XL, "destroy", "xen01"), ("sudo", "-n", accounts.XL, "list"),
    ("sudo", "-n", "/bin/sh"), ("sudo", "-n", "-u", "xen02", accounts.XL, "console", "xen01"), ("sudo", "-n", "-i"), ("sudo", "-n", "-s", accounts.XL, "console", "xen01"),
    ("sudo", "-n", "-e", "/etc/passwd"), ("sudo", "-n", "PATH=/tmp", accounts.XL, "console", "xen01"),
]


@pytest.mark.parametrize("argv", LEAKED, ids=lambda argv: " ".join(argv[2:]))
def test_a_leaked_shell_opens_its_own_console_and_no_other(node: SshNode, argv: tuple[str, ...]) -> None:
    """The original's rule had a wildcard for all consoles."""
    code, said = node.as_user("xen01", *argv)
    assert code != 0 and "CONSOLE" not in said and ("password is required" in said or "not allowed" in said), said
    assert node.as_user("xen01", "sudo", "-n", accounts.XL, "console", "xen01")[0] == 0
    assert node.as_user("xen01-iso", "sudo", "-n", accounts.XL, "console", "xen01")[0] != 0


def test_the_login_shell_does_nothing_else_without_sshd(node: SshNode) -> None:
    shell = node.settings.console_shell
    for words in (("-c", "id"), ("-c", shell, "id"), ("-c",), (shell,), ("-c", f"{shell} ")):
        code, said = node.as_user("xen01", shell, *words)
        assert code == 1 and "uid=" not in said and "CONSOLE" not in said
    assert "CONSOLE OF xen01" in node.as_user("xen01", shell)[1]
    assert "CONSOLE OF xen01" in node.as_user("xen01", shell, "-c", shell)[1]
    assert "is no VPS" in node.as_user("daemon", shell)[1]


# -- keys and passwords ---------------------------------------------------------------------------


def test_new_keys_take_the_place_of_all_earlier_ones(node: SshNode) -> None:
    (HOME / ".ssh/authorized_keys2").write_text((node.scratch / "theirs.pub").read_text())
    answer = node.call("setSshKey", Caller("xen01", Role.OWNER, vps=VpsId(1)), vps="xen01", keys="\n".join(node.key(kind, kind) for kind in ("rsa", "ecdsa")))
    assert len(answer.fingerprints) == 2 and all(item.startswith("SHA256:") for item in answer.fingerprints)
    assert [node.console("xen01", key=key)[0] for key in ("mine", "theirs", "rsa", "ecdsa")] == [255, 255, 0, 0]
    node.call("setSshKey", vps="01", keys=(node.scratch / "mine.pub").read_text())
    assert [node.console("xen01", key=key)[0] for key in ("mine", "rsa")] == [0, 255]


@pytest.mark.parametrize("keys", [
    "ssh-rsa AAAAB3NzaC1yc2E== user@host", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ", "ssh-nonsense AAAAB3NzaC1yc2E=", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJ"])
def test_what_ssh_keygen_cannot_read_is_refused(node: SshNode, keys: str) -> None:
    before = (HOME / ".ssh/authorized_keys").read_text()
    with pytest.raises(Refused, match="setSshKey: keys: key 1: ssh-keygen cannot read it"):
        node.call("setSshKey", vps="01", keys=keys)
    assert (HOME / ".ssh/authorized_keys").read_text() == before


def test_a_new_password_takes_the_place_of_the_old_one_and_stands_nowhere(node: SshNode) -> None:
    node.call("setConsolePassword", vps="01", password=OTHER)
    assert [node.console("xen01", password=password)[0] for password in (PASSWORD, OTHER)] == [255, 0]
    assert node.sftp("xen01-iso", "ls", password=OTHER)[0] == 0
    node.call("setConsolePassword", vps="01", password=PASSWORD)
    assert node.holding(OTHER) == [] and node.holding(PASSWORD) == []


def test_a_vps_that_is_not_there_gets_no_users(node: SshNode) -> None:
    for operation, words in (("setConsolePassword", {"password": "x"}), ("setSoapPassword", {"password": "x"}), ("setSshKey", {"keys": (node.scratch / "mine.pub").read_text()})):
        with pytest.raises(Missing, match="VPS 77 has neither"):
            node.call(operation, vps="77", **words)
    assert node.naming("xen77") == []


def test_the_soap_password_is_bcrypt_and_other_lines_stay(node: SshNode) -> None:
    path = Path(node.settings.htpasswd_file)
    path.chmod(0o640)
    before = path.read_text()
    node.call("setSoapPassword", vps="01", password=PASSWORD)
    assert path.read_text().startswith(before + "xen01:$2b$12$") and path.stat().st_mode & 0o777 == 0o640
    assert htpasswd.read(str(path)).verify(b"xen01", PASSWORD.encode())
    node.call("setSoapPassword", vps="01", password=OTHER)
    assert not htpasswd.read(str(path)).verify(b"xen01", PASSWORD.encode()) and path.read_text().count("xen01:") == 1


# -- ISOs -----------------------------------------------------------------------------------------


def test_isos_are_uploaded_and_nothing_else_is_seen(node: SshNode) -> None:
    iso = node.scratch / "a.iso"
    iso.write_bytes(bytes(32769) + b"CD001" + bytes(4096))
    code, said = node.sftp("xen01-iso", f"put {iso}", "pwd", "ls -la", key="mine")
    assert code == 0 and "/iso" in said, said
    assert [found.name for found in node.call("listISOs", vps="01").isos] == ["a.iso"]
    assert (HOME / "iso/a.iso").stat().st_mode & 0o077 == 0 and HOME.owner() == "root"
    for command in (f"put {iso} /b.iso", f"put {iso} /.ssh/authorized_keys", "ls /etc", "get /etc/passwd", "get ../../xen02/.ssh/authorized_keys", "rename /.ssh /iso/ssh",
                    "mkdir /x", "rm /.ssh/authorized_keys", "chmod 777 /", f"ls {STATE}"):
        assert node.sftp("xen01-iso", command, key="mine")[0] != 0, command
    for words in (("id",), ()):
        code, said = node.ssh("xen01-iso", *words, key="mine", seconds=20)
        assert "uid=" not in said and "CONSOLE" not in said


def test_a_planted_link_is_never_followed(node: SshNode) -> None:
    """Homes of the original were their owners': whatever stands where ours belongs is removed, not followed."""
    for name, target in ((".ssh", "/etc/dtc-xen"), ("iso", "/etc/xen")):
        subprocess.run(["rm", "-rf", str(HOME / name)], check=True)
        (HOME / name).symlink_to(target)
    Path("/etc/dtc-xen/authorized_keys").write_text("the node's own\n")
    node.call("setSshKey", vps="01", keys=(node.scratch / "mine.pub").read_text())
    assert Path("/etc/dtc-xen/authorized_keys").read_text() == "the node's own\n" and Path("/etc/xen").owner() == "root"
    assert not (HOME / "iso").is_symlink() and not (HOME / ".ssh").is_symlink() and (HOME / "iso").owner() == "xen01-iso"
    Path("/etc/dtc-xen/authorized_keys").unlink()


def test_without_uploads_there_is_no_second_user(node: SshNode) -> None:
    with node.told("iso_upload=no"):
        assert node.call("setConsolePassword", vps="02", password=OTHER).users == ("xen02",)
        assert "xen02-iso" not in Path("/etc/passwd").read_text() and "xen02:" in Path("/etc/passwd").read_text()
    assert node.call("setConsolePassword", vps="02", password=OTHER).users == ("xen02", "xen02-iso")


# -- tenant hygiene -------------------------------------------------------------------------------


def test_nothing_names_a_killed_vps_and_its_neighbour_keeps_all(node: SshNode) -> None:
    """killVPS of xen10 lists every place of the node that names it before and after; xen100, whose name begins alike, keeps its own."""
    before = node.naming("xen10", KEPT)
    for vps in ("10", "100"):
        node.new_vps(vps)
        node.call("setSshKey", vps=vps, keys=(node.scratch / "mine.pub").read_text())
        node.call("setConsolePassword", vps=vps, password="t3nant")
        node.call("setSoapPassword", vps=vps, password="t3nant")
    iso = node.scratch / "a.iso"
    assert node.sftp("xen10-iso", f"put {iso}", f"put {iso} b.ISO", "mkdir sub", f"put {iso} sub/c.iso", key="mine")[0] == 0
    neighbours = {path: _state(path) for path in node.naming("xen100", KEPT)}
    assert len(neighbours) >= 9 and set(node.naming("xen10", KEPT)) > {*before, *neighbours}
    with subprocess.Popen(["ssh", "-tt", *node._options("mine", "-p"), "xen10@127.0.0.1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdout and session.stdin
        assert b"Console of xen10" in session.stdout.readline()
        assert isinstance(node.call("killVPSDisk", vps="10"), DisksRemoved)
        assert session.wait(10) == 255, "an open session ends"
    left = node.naming("xen10", KEPT)
    assert [path for path in left if path not in neighbours and path not in before] == []
    shared = ("/etc/passwd", "/etc/shadow", "/etc/passwd-", "/etc/shadow-", "/etc/dtc-xen/htpasswd")
    assert {path: _state(path) for path in neighbours if path not in shared} == {path: state for path, state in neighbours.items() if path not in shared}
    for path in ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/dtc-xen/htpasswd"):
        assert not [line for line in Path(path).read_text().splitlines() if line.startswith(("xen10:", "xen10-"))]
    assert node.console("xen10", key="mine")[0] == 255 and node.console("xen100", key="mine")[0] == 0
    assert htpasswd.read(node.settings.htpasswd_file).verify(b"xen100", b"t3nant")
    assert node.holding("t3nant") == []
    hashes = [line.split(":")[1] for line in Path("/etc/shadow-").read_text().splitlines() if line.startswith(("xen10:", "xen10-"))]
    assert set(hashes) <= {"!"}, "not even the copy that userdel leaves has a hash"
    assert node.call("killVPSDisk", vps="10") == DisksRemoved(()), "twice is fine"


def _state(path: str) -> tuple[int, bytes]:
    return Path(path).lstat().st_mode, Path(path).read_bytes() if Path(path).is_file() else b""


def test_the_next_tenant_of_the_number_starts_clean(node: SshNode) -> None:
    node.new_vps("20")
    node.call("setSshKey", vps="20", keys=(node.scratch / "mine.pub").read_text())
    node.call("setConsolePassword", vps="20", password="t3nant")
    node.call("setSoapPassword", vps="20", password="t3nant")
    assert node.sftp("xen20-iso", f"put {node.scratch}/a.iso", key="mine")[0] == 0
    node.call("killVPSDisk", vps="20")
    node.new_vps("20")
    node.call("setSshKey", vps="20", keys=(node.scratch / "theirs.pub").read_text())
    owner = Caller("xen20", Role.OWNER, vps=VpsId(20))
    assert node.console("xen20", key="theirs")[0] == 0
    assert node.console("xen20", key="mine")[0] == node.console("xen20", password="t3nant")[0] == 255
    assert node.call("listISOs", owner, vps="20").isos == () and not htpasswd.read(node.settings.htpasswd_file).verify(b"xen20", b"t3nant")
    assert {job.operation for job in node.call("listJobs", owner, vps="20").jobs} == {"setupVPSDisk", "setSshKey"}


def test_a_node_of_the_original_left_its_tenants_in(node: SshNode) -> None:
    """The original's killVPS left user, keys and passwords. Whoever gets the number next is alone with it; its user is taken over when there is one."""
    _as_the_original_left_it(node, "xen30")
    node.new_vps("30")
    assert "xen30:" not in Path("/etc/passwd").read_text() + Path(node.settings.htpasswd_file).read_text()
    assert (STATE / "ttyssh_home/xen30/old.iso").exists() and not (STATE / "ttyssh_home/xen30/.ssh").exists()
    node.new_vps("31")
    _as_the_original_left_it(node, "xen31")
    node.call("setConsolePassword", vps="31", password=PASSWORD)
    line = next(line for line in Path("/etc/passwd").read_text().splitlines() if line.startswith("xen31:"))
    assert line.endswith(f":{STATE}/ttyssh_home/xen31:{node.settings.console_shell}")
    assert (STATE / "ttyssh_home/xen31").owner() == "root" and "CONSOLE OF xen31" in node.console("xen31", password=PASSWORD)[1]


def _as_the_original_left_it(node: SshNode, user: str) -> None:
    home = STATE / "ttyssh_home" / user
    subprocess.run(["useradd", "--create-home", "--home-dir", str(home), "--gid", accounts.GROUP, "--shell", "/bin/sh", user], check=True)
    (home / ".ssh").mkdir()
    (home / ".ssh/authorized_keys").write_text((node.scratch / "mine.pub").read_text())
    (home / "old.iso").write_bytes(b"x")
    subprocess.run(["chown", "-R", f"{user}:", str(home)], check=True)
    with open(node.settings.htpasswd_file, "a") as file:
        file.write(f"{user}:abcdefghijklm\n")


def test_a_user_who_only_has_such_a_name_is_left_alone(node: SshNode) -> None:
    node.new_vps("40")
    subprocess.run(["useradd", "--create-home", "--user-group", "xen40"], check=True)
    with pytest.raises(Failed, match="the node has a user xen40 that is no console user"):
        node.call("setConsolePassword", vps="40", password=PASSWORD)
    node.call("killVPSDisk", vps="40")
    assert "xen40:" in Path("/etc/passwd").read_text() and Path("/home/xen40").is_dir()


# -- what fails half-way --------------------------------------------------------------------------


def _plan(node: SshNode, *more: Step) -> Call:
    """What an installation of VPS 50 does for its owner, and what comes after it."""
    def decide(facts: Facts) -> Plan:
        return Plan("install", (*accounts.ensure_steps(VpsId(50), node.settings, facts), *more))
    return Call("reinstallOS", Kind.NOW, ADMIN, VpsId(50), (NeedDomu(VpsId(50)), NeedAccounts(VpsId(50))), decide)


def test_users_of_an_installation_that_fails_are_undone(node: SshNode) -> None:
    before = node.naming("xen50", KEPT)
    with pytest.raises(Failed) as failed:
        node.jobs.submit(_plan(node, Run(why="Fail.", argv=("false",)))).result(60)
    assert "Let xen50 in no more, end what it runs, and remove it." in failed.value.undone and "Take the sudo rule back." in failed.value.undone
    assert node.naming("xen50", KEPT) == [*before, f"{STATE}/ttyssh_home/xen50"]
    node.call("killVPSDisk", vps="50")
    assert node.naming("xen50", KEPT) == before


def test_a_rule_that_sudo_does_not_understand_never_counts(node: SshNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sudoers file with a mistake would lock every admin out of sudo."""
    monkeypatch.setattr(accounts, "sudo_rule", lambda vps: "xen50 ALL=(root NOPASSWD: ALL\n")
    with pytest.raises(Failed, match="See whether sudo understands it: visudo ended with code 1"):
        node.jobs.submit(_plan(node)).result(60)
    assert not [path for path in Path("/etc/sudoers.d").iterdir() if "xen50" in path.name]
    node.call("killVPSDisk", vps="50")


def test_many_at_once_lose_no_line(node: SshNode) -> None:
    """Users and htpasswd are changed by whole files: without the node's lock one call's line would be gone by the other's."""
    vpses = [f"{number}" for number in range(60, 68)]
    for vps in vpses:
        node.new_vps(vps)
    node.at_once("setSoapPassword", vpses, password="t3nant")
    assert sum(line.startswith("xen6") for line in Path(node.settings.htpasswd_file).read_text().splitlines()) == 8
    node.at_once("setConsolePassword", vpses, password="t3nant")
    assert sum(line.startswith("xen6") for line in Path("/etc/passwd").read_text().splitlines()) == 16
    assert node.console("xen67", password="t3nant")[0] == 0
    node.at_once("killVPSDisk", vpses)
    assert node.naming("xen6", KEPT) == []
