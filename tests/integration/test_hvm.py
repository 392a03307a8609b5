"""writeXenHVMconf through the engine on real files: what an owner does to an ISO meanwhile, and what reaches the disk."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap.access import Caller, Role
from dtcxen_soap.answers import ConfigWritten
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Failed, Refused
from dtcxen_soap.facts import Facts, Need, QemuFact
from dtcxen_soap.jobs import Jobs
from dtcxen_soap.journal import Journal
from dtcxen_soap.operations import prepare
from dtcxen_soap.settings import load
from dtcxen_soap.survey.survey import Survey
from dtcxen_soap.xen import config

pytestmark = pytest.mark.machine
ADMIN = Caller("dtc-xen", Role.ADMIN)
CD = bytes(32769) + b"CD001" + bytes(2048)


class HvmNode:
    """The engine over this machine's files, as if it were a dom0 that can run HVM guests; `meanwhile` happens between survey and plan."""

    def __init__(self, top: Path, more: str = "") -> None:
        self.top, self.homes, self.configuration = top, top / "homes", top / "xen/xen50"
        for name in ("homes/xen50/iso", "xen", "mnt", "conf"):
            (top / name).mkdir(parents=True)
        self.settings = load(
            f"state_dir={top}\nprovisioning_mount_point={top}/mnt\nttyssh_home={self.homes}\nxen_config_dir={top}/xen\nconfig_dir={top}/conf\n"
            f"iso_library={top}/isos\ntoolstack=none\ndefault_image_type=vbd\novercommit=yes\n{more}").settings
        self.journal = Journal(self.settings.journal_path)
        self._survey = Survey(self.settings, Dom0(), self.journal, lambda vps: "")
        self.meanwhile: Callable[[], object] = lambda: None
        self.jobs = Jobs(self.settings, Dom0(), self.journal, self._fill)
        self.jobs.start()

    def _fill(self, needs: tuple[Need, ...]) -> Facts:
        found = self._survey.fill(needs)
        self.meanwhile()
        return dataclasses.replace(found, node=dataclasses.replace(found.node, hvm=True), qemu=QemuFact("/usr/libexec/xen-qemu-system-i386", True))

    def call(self, operation: str, **words: str) -> Any:
        return self.jobs.submit(prepare(operation, tuple(words.items()), self.settings, ADMIN, rpc=False)).result(30)

    def write(self, boot: str, password: str = "no_vnc", **more: str) -> Any:
        return self.call("writeXenHVMconf", vps="50", ramSizeMib="256", addresses="192.0.2.10", vncPassword=password, boot=boot, **more)

    def wait(self, job: int) -> None:
        """Until a job is over."""
        deadline = time.monotonic() + 30
        while self.call("getJob", job=str(job)).state in ("queued", "running"):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def end(self) -> None:
        self.jobs.stop(5)
        self.journal.close()

    @property
    def pinned(self) -> Path:
        return self.homes / ".isos/xen50.iso"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[HvmNode]:
    made = HvmNode(tmp_path)
    made.call("setupVPSDisk", vps="50", diskSizeMib="64", swapSizeMib="0")
    yield made
    made.end()


def test_from_cd_to_disk(node: HvmNode) -> None:
    iso = node.homes / "xen50/iso/Installer 1.iso"
    iso.write_bytes(CD)
    assert node.write("Installer 1.iso", "s3cr&t\"") == ConfigWritten(str(node.configuration), "127.0.0.1", "its own ISO Installer 1.iso")
    assert config.parse(node.configuration.read_text()).paths == (f"{node.top}/mnt/xen50.img", str(node.pinned))
    assert node.configuration.stat().st_mode & 0o777 == 0o600 and node.pinned.samefile(iso)
    first = node.configuration.read_text()
    node.write("hdd")
    assert config.parse(node.configuration.read_text()).paths == (f"{node.top}/mnt/xen50.img",)
    assert not node.pinned.exists() and iso.exists() and (node.top / "xen/auto/xen50").resolve() == node.configuration
    assert (node.top / "xen/xen50.previous").read_text() == first
    assert sorted(path.name for path in (node.top / "xen").iterdir()) == ["auto", "xen50", "xen50.previous"]


def test_an_iso_that_becomes_a_link_to_anothers_disk_is_not_booted(node: HvmNode) -> None:
    iso = node.homes / "xen50/iso/a.iso"
    iso.write_bytes(CD)
    (node.top / "mnt/xen07.img").write_bytes(CD)

    def swap() -> None:
        iso.unlink(missing_ok=True)
        iso.symlink_to(node.top / "mnt/xen07.img")

    node.meanwhile = swap
    with pytest.raises(Failed, match="not a regular file"):
        node.write("a.iso")
    assert not node.pinned.exists() and not node.configuration.exists()
    with pytest.raises(Refused, match="'a.iso' is no ISO of VPS 50"):
        node.write("a.iso")


def test_a_swap_after_the_call_changes_nothing(node: HvmNode) -> None:
    iso = node.homes / "xen50/a.iso"
    iso.write_bytes(CD)
    node.write("a.iso")
    iso.unlink()
    iso.symlink_to("/etc/passwd")
    assert node.pinned.read_bytes() == CD and not node.pinned.is_symlink()


def test_no_name_of_an_iso_adds_a_disk(node: HvmNode) -> None:
    name = 'x", "phy:sda,hda,w" ] disk += [ ".iso'
    (node.homes / "xen50/iso" / name).write_bytes(CD)
    node.write(name)
    assert config.parse(node.configuration.read_text()).paths == (f"{node.top}/mnt/xen50.img", str(node.pinned))
    assert "sda" not in node.configuration.read_text()


def test_homes_that_others_may_change_are_told(node: HvmNode) -> None:
    (node.homes / "xen50/a.iso").write_bytes(CD)
    node.homes.chmod(0o757)
    with pytest.raises(Failed, match="others than root may change what is there"):
        node.write("a.iso")
    assert not node.configuration.exists()


def test_the_librarys_iso_is_booted_where_it_lies_and_outlives_the_vps(node: HvmNode) -> None:
    shelf = node.top / "isos/netinst.iso"
    shelf.parent.mkdir()
    shelf.write_bytes(CD)
    (node.homes / "xen50/iso/own.iso").write_bytes(CD)
    listed = node.call("listISOs", vps="50")
    assert [(iso.name, iso.library) for iso in listed.isos] == [("own.iso", False), ("netinst.iso", True)] and listed.used_bytes == len(CD)
    assert node.write("own.iso").boots == "its own ISO own.iso" and node.pinned.exists()
    assert node.write("netinst.iso").boots == "the library's ISO netinst.iso"
    text = node.configuration.read_text()
    assert config.parse(text).paths == (f"{node.top}/mnt/xen50.img", str(shelf)) and f"devtype=cdrom,access=r,target={shelf}" in text
    assert not node.pinned.exists(), "the owner's is let go"
    node.call("killVPSDisk", vps="50")
    assert shelf.read_bytes() == CD and shelf.stat().st_nlink == 1 and not node.configuration.exists()


def test_an_owners_iso_of_the_librarys_name_is_told(node: HvmNode) -> None:
    shelf, own = node.top / "isos/same.iso", node.homes / "xen50/iso/same.iso"
    shelf.parent.mkdir()
    shelf.write_bytes(CD)
    own.write_bytes(CD + bytes(2048))
    assert [iso.library for iso in node.call("listISOs", vps="50").isos] == [False, True]
    assert "not the library's of the same name" in node.write("same.iso").boots and node.pinned.samefile(own)
    own.unlink()
    assert node.write("same.iso").boots == "the library's ISO same.iso"


def test_more_than_the_quota_is_booted_neither_by_the_panel_nor_by_others(tmp_path: Path) -> None:
    node = HvmNode(tmp_path, "iso_quota_mib=1")
    try:
        node.call("setupVPSDisk", vps="50", diskSizeMib="64", swapSizeMib="0")
        for name in ("a.iso", "b.iso"):
            (node.homes / "xen50/iso" / name).write_bytes(CD.ljust(600_000))
        listed = node.call("listISOs", vps="50")
        assert (listed.used_bytes, listed.quota_bytes) == (1_200_000, 1 << 20)
        with pytest.raises(Refused, match="writeXenHVMconf: boot: the ISOs of VPS 50 use 2 MiB, and may use 1 MiB"):
            node.write("a.iso")
        old = (("vpsname", "50"), ("ramsize", "256"), ("allipaddrs", "192.0.2.10"), ("vncpassword", "no_vnc"), ("howtoboot", "a.iso"))
        with pytest.raises(Refused, match="howtoboot: the ISOs of VPS 50 use 2 MiB"):
            node.jobs.submit(prepare("writeXenHVMconf", old, node.settings, ADMIN, rpc=True)).result(30)
        assert not node.configuration.exists() and node.write("hdd")
        (node.homes / "xen50/iso/b.iso").unlink()
        assert node.write("a.iso").boots == "its own ISO a.iso"
    finally:
        node.end()


def test_killvps_lets_go_of_all_of_it(node: HvmNode) -> None:
    (node.homes / "xen50/a.iso").write_bytes(CD)
    node.write("a.iso")
    node.call("killVPSDisk", vps="50")
    assert not node.pinned.exists() and not node.configuration.exists() and not list((node.top / "mnt").glob("xen50*"))


def test_a_plan_tells_no_password_and_changes_nothing(node: HvmNode) -> None:
    answer = node.write("hdd", "hidden12", planOnly="true")
    assert len(answer.plan) > 4 and "hidden12" not in "".join(answer.plan) and not node.configuration.exists()
