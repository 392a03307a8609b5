"""dtc-xen.conf: the old node's file as it stands, nearest names for unknown keys, file:line for bad values."""

from __future__ import annotations

import pytest

from dtcxen_soap import settings
from dtcxen_soap.errors import Misconfigured
from dtcxen_soap.settings import TABLE, Settings, load, render

OLD_NODE = '''
# DTC-Xen configuration
soap_server_host=0.0.0.0   # everywhere
soap_server_port="8089"
soap_server_dtcxen_user='dtc-xen'
soap_server_pass_phrase="secret phrase"
soap_server_lvmname=lvm1
export VPS_MOUNTPOINT=/var/lib/dtc-xen/mnt
GATEWAY="192.0.2.1"
DNS="192.0.2.53 192.0.2.54"
DEBIAN_RELEASE=lenny
debian_added_debs="vim,less  ssh"
'''


def test_an_old_nodes_file_is_read_as_it_stands():
    loaded = load(OLD_NODE, "f")
    made = loaded.settings
    assert (made.listen_port, made.provisioning_volgroup, made.debian_release) == (8089, "lvm1", "lenny")
    assert made.debian_added_debs == ("vim", "less", "ssh")
    assert [str(address) for address in made.DNS] == ["192.0.2.53", "192.0.2.54"]
    assert made.cert_passphrase.reveal() == "secret phrase"
    assert loaded.sources["listen_port"] == "f:4" and loaded.sources["max_vps_id"] == "default"
    assert not loaded.warnings


def test_nothing_is_executed_or_expanded():
    assert load("XENU_EXTRA_PARM='$(touch /x) `id`'").settings.XENU_EXTRA_PARM == "$(touch /x) `id`"


def test_an_unknown_key_names_the_nearest():
    assert load("listen_prt=1", "f").warnings == ("f:1: unknown setting listen_prt; did you mean listen_port?",)
    assert load("quux=1", "f").warnings == ("f:1: unknown setting quux",)


@pytest.mark.parametrize(("line", "text"), [
    ("listen_port=80890", "listen_port: '80890' is not valid, expected a whole number from 0 to 65535"),
    ("listen_port=", "listen_port: '' is not valid"), ("os_dir=usr", "expected an absolute path"), ("overcommit=maybe", "expected yes or no"),
    ("root_filesystem=zfs", "expected one of ext3, ext4, xfs, btrfs"), ("GATEWAY=x", "GATEWAY: 'x' is not valid"), ("DNS='unfinished", "No closing quotation"),
    ("just words", "not KEY=value"), ("GATEWAY='192.0.2.1 192.0.2.2'", "more than one gateway"), ("debian_added_debs='ok; rm'", "is not a package name"),
    ("monitor_user=dtc-xen", "the same as admin_user"), ("vps_ram_min_mib=64\nvps_ram_max_mib=32", "larger than vps_ram_max_mib")])
def test_bad_values_are_refused_with_file_and_line(line, text):
    with pytest.raises(Misconfigured) as caught:
        load(line, "f")
    assert text in str(caught.value) and str(caught.value).startswith("f:1: ")


def test_every_problem_at_once_and_no_secret():
    with pytest.raises(Misconfigured) as caught:
        load("listen_port=x\noverrcommit=1\novercommit=x")
    assert len(caught.value.problems) == 2


def test_the_last_of_two_counts_and_is_told():
    loaded = load("listen_port=1\nsoap_server_port=2", "f")
    assert loaded.settings.listen_port == 2 and "listen_port is set again" in loaded.warnings[0]


def test_the_rendered_file_reads_back_as_the_defaults():
    assert load(render()).settings == settings.defaults()
    uncommented = "\n".join(line.removeprefix("#") for line in render().splitlines() if not line.startswith(("# ", "##")))
    assert load(uncommented).settings == settings.defaults()
    assert load(render({"vps_domain": "example.net"})).settings.vps_domain == "example.net"


def test_every_row_has_help_and_a_working_default():
    for row in TABLE:
        assert row.help.endswith(".") and row.group
        assert row.parser(row.default) == getattr(settings.defaults(), row.name)
    assert {row.name for row in TABLE} == set(Settings.__dataclass_fields__)


def test_no_name_means_two_settings():
    names = [name.lower() for row in TABLE for name in (row.name, *row.old)]
    assert len(names) == len(set(names))
