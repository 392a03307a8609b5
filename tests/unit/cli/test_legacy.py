"""The original's command names: its words in, an operation with named parameters out, and nothing that moves up by one."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap.cli import flags as cli_flags
from dtcxen_soap.cli import legacy as cli_legacy
from dtcxen_soap.cli import local as cli_local
from dtcxen_soap.cli import soap as cli_soap
from dtcxen_soap.settings import load

NAMES = {
    "dtc_setup_vps_disk", "dtc_kill_vps_disk", "dtc_reinstall_os", "dtc_write_xenhvm_conf", "dtc_change_bsd_kernel", "dtc-xen-volgroup", "dtc-xen-ping-all-ips",
    "dtc-xen_domU_gen_xen_conf", "dtc-xen-client", "dtc-xen_userconsole", "dtc-xen_finish_install",
    "dtc-xen_migrate"}
REINSTALL = ("-vpsid", "01", "-ram", "512", "-nic", "192.0.2.10,255.255.255.0,192.0.2.255", "-nic", "192.0.2.11/24", "-os", "debian", "-gw", "192.0.2.1",
             "-dns", "192.0.2.53,192.0.2.54")


class FakeNode:
    """A daemon that keeps what it was asked, and as whom."""

    def __init__(self) -> None:
        self.doors: list[Any] = []
        self.calls: list[tuple[str, list[tuple[str, str]]]] = []

    def __call__(self, door: Any) -> FakeNode:
        self.doors.append(door)
        return self

    def call(self, operation: str, values: list[tuple[str, str]]) -> Any:
        self.calls.append((operation, values))
        return {"message": "done"}


class Typed:
    """What somebody types on a node, and what comes of it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], config: Path) -> None:
        self.node, self.config, self._capsys = FakeNode(), config, capsys
        self.out = self.err = ""

    def __call__(self, name: str, *words: str) -> int:
        code = cli_legacy.main((f"/usr/bin/{name}", "--config", str(self.config), *words))
        captured = self._capsys.readouterr()
        self.out, self.err = captured.out, captured.err
        return code

    @property
    def faults(self) -> list[str]:
        return [line.removeprefix("dtcxen: ") for line in self.err.splitlines() if "warning" not in line]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    config = tmp_path / "dtc-xen.conf"
    config.write_text(f"config_dir={tmp_path}\nstate_dir={tmp_path}\nprovisioning_mount_point={tmp_path}\nlisten_port=99\ntls_certificate={tmp_path}/cert.pem\nKERNELPATH=/boot/k\n")
    (tmp_path / "admin.password").write_text("geheim\n")
    (tmp_path / "cert.pem").write_text("PEM")
    monkeypatch.delenv("PASSWORD", raising=False)
    made = Typed(capsys, config)
    monkeypatch.setattr(cli_soap, "Node", made.node)
    return made


def test_every_name_is_a_program_of_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[3] / "setup.cfg")
    scripts = dict(line.split(" = ") for line in setup["options.entry_points"]["console_scripts"].strip().splitlines())
    assert {name for name, target in scripts.items() if target == "dtcxen_soap.cli.legacy:main"} == NAMES == {command.name for command in cli_legacy.COMMANDS}


@pytest.mark.parametrize("name", sorted(NAMES - {"dtc-xen_userconsole"}))
def test_each_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_legacy.main((name, "--help")) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: {name}") and "--plan" in out


def test_another_name_is_none_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_legacy.main(("dtc_create_vps",)) == 2


# -- by position ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "words", "operation", "values"), [
    ("dtc_setup_vps_disk", ("01", "2048", "256"), "setupLVMDisks", {"vpsname": "01", "hddsize": "2048", "swapsize": "256"}),
    ("dtc_setup_vps_disk", ("01", "2048", "256", "vbd"), "setupLVMDisks", {"vpsname": "01", "hddsize": "2048", "swapsize": "256", "imagetype": "vbd"}),
    ("dtc_kill_vps_disk", ("xen01",), "killVPS", {"vpsname": "xen01"}),
    ("dtc_kill_vps_disk", ("01", "lvm"), "killVPS", {"vpsname": "01", "imagetype": "lvm"}),
    ("dtc_write_xenhvm_conf", ("01", "512", "192.0.2.1 192.0.2.2", "no_vnc", "hdd"), "writeXenHVMconf",
     {"vps": "01", "ramSizeMib": "512", "addresses": "192.0.2.1 192.0.2.2", "vncPassword": "no_vnc", "boot": "hdd"}),
    ("dtc_change_bsd_kernel", ("01", "512", "install", "192.0.2.1"), "changeBSDkernel", {"vps": "01", "ramSizeMib": "512", "kernel": "install", "addresses": "192.0.2.1"}),
])
def test_words_become_named_parameters(typed: Typed, name: str, words: tuple[str, ...], operation: str, values: dict[str, str]) -> None:
    assert typed(name, *words) == 0
    assert typed.node.calls == [(operation, list(values.items()))]
    door = typed.node.doors[0]
    assert (door.url, door.user, door.password, door.trust) == ("https://localhost:99/", "dtc-xen", "geheim", str(typed.config.parent / "cert.pem"))


@pytest.mark.parametrize(("name", "words", "starts"), [
    ("dtc_setup_vps_disk", ("", "30000", "512", "lvm"), ["vpsname: '': empty"]),
    ("dtc_setup_vps_disk", ("30000", "512", "lvm"), ["vpsname: '30000': not of the form", "swapsize: 'lvm': not a whole number"]),
    ("dtc_setup_vps_disk", ("01", "2048", "256", "qcow2"), ["imagetype: 'qcow2': not one of"]),
    ("dtc_setup_vps_disk", ("-v", "2048", "256"), ["vpsname: '-v'"]),
    ("dtc_kill_vps_disk", ("lvm",), ["vpsname: 'lvm': not of the form"]),
    ("dtc_kill_vps_disk", ("01; rm -rf /",), ["vpsname: '01; rm -rf /'"]),
    ("dtc_write_xenhvm_conf", ("01", "192.0.2.1", "no_vnc", "hdd", ""), ["ramsize: '192.0.2.1'", "allipaddrs: 'no_vnc'", "howtoboot: '': empty"]),
    ("dtc_change_bsd_kernel", ("01", "normal", "512", "192.0.2.1"), ["ramsize: 'normal'", "kerneltype: '512'"]),
])
def test_shifted_words_are_refused_by_the_parameters_name_and_nobody_is_called(typed: Typed, name: str, words: tuple[str, ...], starts: list[str]) -> None:
    assert typed(name, *words) == 1
    assert len(typed.faults) == len(starts) and all(line.startswith(f"{name}: {start}") for line, start in zip(typed.faults, starts, strict=True)), typed.err
    assert not typed.node.calls and not typed.node.doors


@pytest.mark.parametrize(("name", "words", "text"), [
    ("dtc_setup_vps_disk", (), "vpsname, hddsize, swapsize: missing"), ("dtc_setup_vps_disk", ("01", "2048"), "swapsize: missing"),
    ("dtc_setup_vps_disk", ("01", "2048", "256", "lvm", "x"), "1 too many"), ("dtc_kill_vps_disk", (), "vpsname: missing"), ("dtc_kill_vps_disk", ("01", "lvm", "x"), "1 too many"),
    ("dtc_change_bsd_kernel", ("01", "512", "install"), "allipaddrs: missing"), ("dtc_write_xenhvm_conf", ("01", "512", "192.0.2.1", "x", "hdd", "uefi"), "1 too many"),
    ("dtc_reinstall_os", (), "-vpsid"), ("dtc-xen-volgroup", ("x",), "too many"), ("dtc-xen-ping-all-ips", ("x",), "too many"), ("dtc-xen-client", (), "URL and METHOD"),
    ("dtc-xen-client", ("https://n/",), "METHOD is missing"), ("dtc-xen-client", ("https://n/", "nonesuch"), "unknown operation"),
    ("dtc-xen-client", ("http://n/", "testVPSServer"), "no address"), ("dtc-xen-client", ("https://n:x/", "testVPSServer"), "no address"),
    ("dtc-xen-client", ("https://n/", "getVPSState", "01", "02"), "1 too many"), ("dtc-xen-client", ("https://n/", "getVPSState"), "vpsname: missing")])
def test_a_wrong_number_of_words_is_2_and_names_what_lacks(typed: Typed, name: str, words: tuple[str, ...], text: str) -> None:
    assert typed(name, *words) == 2
    assert text in typed.err and not typed.node.calls


def test_a_password_in_sight_is_warned_of_and_not_repeated(typed: Typed) -> None:
    assert typed("dtc_write_xenhvm_conf", "01", "512", "192.0.2.1", "s3cr3t", "hdd") == 0
    assert "vncPassword=@FILE" in typed.err and "s3cr3t" not in typed.err + typed.out


# -- by flags -------------------------------------------------------------------------------------


def test_flags_become_named_parameters(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "from the environment")
    assert typed("dtc_reinstall_os", *REINSTALL, "--vps-fqdn", "www.example.com", "--virt-type", "xen", "--kernel", "/boot/k", "--mac", "00:16:3E:10:10:01") == 0, typed.err
    assert typed.node.calls == [("reinstallOS", [
        ("vps", "01"), ("osType", "debian"), ("ramSizeMib", "512"), ("password", "from the environment"),
        ("nics", "192.0.2.10,255.255.255.0,192.0.2.255+192.0.2.11/24"), ("gateway", "192.0.2.1"), ("dns", "192.0.2.53,192.0.2.54"), ("hostname", "www.example.com")])]
    assert not typed.err


def test_the_flags_own_password_wins_and_is_warned_of(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "other")
    assert typed("dtc_reinstall_os", *REINSTALL, "-pass", "s3cr3t") == 0
    assert dict(typed.node.calls[0][1])["password"] == "s3cr3t" and "warning" in typed.err and "s3cr3t" not in typed.err


@pytest.mark.parametrize(("words", "starts"), [
    (("-vpsid", "01", "-dns", "-gw", "192.0.2.1"), ["-dns: followed by -gw, not by its value"]),
    (("-vpsid",), ["-vpsid: its value is missing"]),
    (("-vpsid", "01", "-vpsid", "02"), ["-vpsid: given more than once"]),
    (("-vpsid", "01", "oops", "-nonesuch", "--short-circuit", ""), ["oops: belongs to no flag", "-nonesuch: unknown flag", "--short-circuit: an installation", "empty"]),
    ((*REINSTALL, "--kernel", "/boot/other", "--initrd", "/i", "--mac", "00:16:3e:00:00:09", "--virt-type", "vz"),
     ["--virt-type: 'vz'", "--mac: '00:16:3e:00:00:09'", "--kernel: '/boot/other'", "--initrd: '/i'"]),
    ((*REINSTALL, "-pass", "x", "--boot-iso", "a.iso"), ["--boot-iso: is for -os xenhvm"]),
    (REINSTALL, ["-pass: missing parameter"]),
    (("-ram", "1", "-pass", "x"), ["-vpsid: missing", "-os: missing", "-ram: '1': too small"]),
    (("-vpsid", "", *REINSTALL[2:], "-pass", "x"), ["-vpsid: '': empty"]),
    (("-vpsid", "01", "-ram", "512", "-os", "xenhvm", "-nic", "192.0.2.1", "-gw", "shifted"), ["-gw: not of the form allowed"]),
])
def test_flags_that_lost_their_value_and_words_without_a_flag_are_refused(typed: Typed, words: tuple[str, ...], starts: list[str]) -> None:
    assert typed("dtc_reinstall_os", *words) == 1
    assert [line.removeprefix("dtc_reinstall_os: ")[:len(start)] for line, start in zip(typed.faults, starts, strict=True)] == starts, typed.err
    assert not typed.node.calls


@pytest.mark.parametrize("command", ["dtc_reinstall_os", "dtc-xen_domU_gen_xen_conf"])
def test_guests_that_install_themselves_get_their_configuration(typed: Typed, command: str) -> None:
    common = ("-vpsid", "01", "-ram", "512", "-nic", "192.0.2.10,255.255.255.0", "-nic", "192.0.2.11", "-gw", "192.0.2.1")
    assert typed(command, *common, "-os", "xenhvm", "--boot-iso", "a b.iso") == 0, typed.err
    assert typed(command, *common, "-os", "netbsd") == 0, typed.err
    assert typed.node.calls == [
        ("writeXenHVMconf", [("vps", "01"), ("ramSizeMib", "512"), ("addresses", "192.0.2.10 192.0.2.11"), ("vncPassword", "no_vnc"), ("boot", "a b.iso")]),
        ("changeBSDkernel", [("vps", "01"), ("ramSizeMib", "512"), ("kernel", "normal"), ("addresses", "192.0.2.10 192.0.2.11")])]


def test_the_configuration_of_others_is_their_installations(typed: Typed) -> None:
    assert typed("dtc-xen_domU_gen_xen_conf", "-vpsid", "01", "-ram", "512", "-nic", "192.0.2.1", "-os", "debian") == 1
    assert typed.faults[0].startswith("dtc-xen_domU_gen_xen_conf: -os: 'debian': its configuration is written by its installation")
    path, rest = str(typed.config.parent), ("-vpsid", "1", "-ram", "512", "-nic", "192.0.2.1", "-os", "netbsd")
    assert typed("dtc-xen_domU_gen_xen_conf", "-path", f"{path}/01", *rest, "--xen-domu-hdd-dev-type", "xvd") == 0, typed.err
    assert typed("dtc-xen_domU_gen_xen_conf", "-path", f"{path}/02", *rest) == 1


def test_another_kind_of_disk_than_the_vps_has_is_refused(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_local.Here, "call", lambda self, operation, values: {"disks": [{"imageType": "vbd"}]})
    assert typed("dtc_reinstall_os", *REINSTALL, "-pass", "x", "--disk-type", "lvm") == 1
    assert typed.faults == ["dtc_reinstall_os: --disk-type: 'lvm': the disks of VPS 01 are vbd, expected vbd"] and not typed.node.calls
    assert typed("dtc_reinstall_os", *REINSTALL, "-pass", "x", "--disk-type", "vbd") == 0


def test_no_flag_stands_twice_in_a_table() -> None:
    for flags in (cli_flags.OF_REINSTALL, cli_flags.OF_CONFIG):
        assert len({flag.name for flag in flags}) == len(flags)
        assert all(hasattr(load("").settings, flag.setting) for flag in flags if flag.setting)


# -- the rest -------------------------------------------------------------------------------------


def test_the_client_signs_in_as_its_address_says(typed: Typed, tmp_path: Path) -> None:
    assert typed("dtc-xen-client", "https://xen01:p%40ss@[2001:db8::1]:99/", "getVPSInstallLog", "01", "20") == 0
    door = typed.node.doors[0]
    assert (door.url, door.user, door.password, door.trust) == ("https://[2001:db8::1]:99/", "xen01", "p@ss", True)
    assert typed.node.calls == [("getVPSInstallLog", [("vps", "01"), ("numLines", "20")])]
    assert "warning" in typed.err and "p@ss" not in typed.err and "p%40ss" not in typed.err
    assert typed("dtc-xen-client", "https://xen01:x@localhost/", "listJobs") == 0
    assert (typed.node.doors[1].url, typed.node.doors[1].trust) == ("https://localhost:8089/", str(tmp_path / "cert.pem"))


def test_the_client_only_says_what_it_would_call(typed: Typed) -> None:
    assert typed("dtc-xen-client", "--plan", "https://u:p@n/", "changeVPSsoapPassword", "01", "s3cr3t") == 0
    assert typed.out == "would call changeVPSsoapPassword of n vpsname='01' password=(redacted)\n" and not typed.node.doors


def test_a_vps_moves_by_the_daemon_to_the_third_words_number(typed: Typed) -> None:
    assert typed("dtc-xen_migrate", "01", "node2", "07") == 0
    assert typed.node.calls[0] == ("migrateVPS", [("vps", "01"), ("toHost", "node2"), ("toVps", "07")])
    assert typed("dtc-xen_migrate", "01", "-oProxyCommand=id") == 1 and "dtc-xen_migrate: node: '-oProxyCommand=id'" in typed.err
    assert typed("dtc-xen_migrate", "node2") == 2 and "node: missing" in typed.err


def test_the_login_shell_becomes_the_console_program_with_the_same_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    became: list[Any] = []
    program = tmp_path / "console"
    monkeypatch.setattr(cli_legacy, "CONSOLE", str(program))
    monkeypatch.setattr(os, "execv", lambda path, argv: became.append((path, argv)))
    assert cli_legacy.main(("dtc-xen_userconsole",)) == 1 and "not there" in capsys.readouterr().err
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    cli_legacy.main(("/usr/bin/dtc-xen_userconsole", "-c", "--plan"))
    assert became == [(str(program), (str(program), "-c", "--plan"))]
