"""Trees of real distributions, old and new: one system gets the card, nothing else speaks of it."""

from __future__ import annotations

import pytest

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.guestnet import choose
from tests.networks import CASES

NETWORK = CASES["both-versions"]
SYSTEMD = ("lib/systemd/systemd", "lib/systemd/systemd-networkd", "usr/lib/systemd/systemd", "usr/lib/systemd/systemd-networkd")
WANTS = "etc/systemd/system/multi-user.target.wants"
RESOLVED = f"{WANTS}/systemd-resolved.service"
RED_HAT = "etc/sysconfig/network-scripts"
TREES = {
    "debian 5": ("ifupdown", ("etc/network", "etc/network/interfaces", "sbin/ifup", "etc/resolv.conf")),
    "debian 12 of debootstrap": ("ifupdown", (*SYSTEMD, "etc/network", "etc/network/interfaces.d", "sbin/ifup", "usr/sbin/ifup")),
    "debian 12 with NetworkManager": ("ifupdown", (*SYSTEMD, "etc/network", "sbin/ifup", "usr/sbin/NetworkManager", f"{WANTS}/NetworkManager.service")),
    "debian 12 cloud image": ("netplan", (*SYSTEMD, "etc/netplan", "usr/sbin/netplan", f"{WANTS}/systemd-networkd.service", RESOLVED, "etc/cloud/cloud.cfg.d")),
    "ubuntu 24.04": ("netplan", (*SYSTEMD, "etc/netplan", "usr/sbin/netplan", "etc/netplan/50-cloud-init.yaml", RESOLVED, "etc/resolv.conf")),
    "ubuntu 14.04": ("ifupdown", ("etc/network", "etc/network/interfaces", "etc/network/interfaces.d", "sbin/ifup")),
    "centos 5": ("ifcfg", (RED_HAT, f"{RED_HAT}/ifup", f"{RED_HAT}/ifcfg-lo", f"{RED_HAT}/ifcfg-eth0")),
    "centos 7": ("ifcfg", ("usr/lib/systemd/systemd", "usr/sbin/NetworkManager", RED_HAT, f"{RED_HAT}/ifup", f"{WANTS}/NetworkManager.service")),
    "rocky 9": ("keyfile", ("usr/lib/systemd/systemd", "usr/sbin/NetworkManager", RED_HAT, f"{RED_HAT}/ifcfg-ens3")),
    "arch": ("networkd", (*SYSTEMD, "etc/resolv.conf")),
    "both managers, networkd on": ("networkd", (*SYSTEMD, "usr/sbin/NetworkManager", f"{WANTS}/systemd-networkd.service")),
    "both managers, both on": ("keyfile", (*SYSTEMD, "usr/sbin/NetworkManager", f"{WANTS}/systemd-networkd.service", f"{WANTS}/NetworkManager.service")),
}


def tree(*paths, **texts):
    return TreeFact({path.replace("__", "/"): text for path, text in texts.items()}, frozenset(paths))


def paths(fact):
    return [file.path for file in choose.render_for(fact, NETWORK)]


@pytest.mark.parametrize("name", TREES)
def test_a_distribution_gets_its_own_files(name):
    system, there = TREES[name]
    assert choose.system_of(tree(*there)).name == system


@pytest.mark.parametrize("name", TREES)
def test_whatever_is_asked_of_the_tree_is_in_the_lists_for_the_finish_step(name):
    asked = set()

    class Watched(TreeFact):
        def has(self, path):
            asked.add(path)
            return super().has(path)

    fact = Watched({}, frozenset(TREES[name][1]))
    choose.render_for(fact, NETWORK)
    choose.stale(fact)
    choose.links_for(fact)
    assert asked <= set(choose.TEXTS) | set(choose.GLOBS)


@pytest.mark.parametrize("name", TREES)
def test_nothing_that_is_written_was_also_there_under_another_name(name):
    fact = tree(*TREES[name][1], "etc/netplan/50-cloud-init.yaml", f"{RED_HAT}/ifcfg-ens3", f"{RED_HAT}/route-ens3", "etc/network/interfaces",
                "etc/network/interfaces.d/50-cloud-init", "etc/systemd/network/00-dhcp.network", "etc/NetworkManager/system-connections/Wired 1.nmconnection")
    gone = set(choose.stale(fact))
    assert {"etc/netplan/50-cloud-init.yaml", f"{RED_HAT}/ifcfg-ens3", f"{RED_HAT}/route-ens3", "etc/network/interfaces.d/50-cloud-init",
            "etc/systemd/network/00-dhcp.network", "etc/NetworkManager/system-connections/Wired 1.nmconnection"} <= gone
    assert f"{RED_HAT}/ifcfg-lo" not in gone
    texts = {file.path: file.text for file in choose.render_for(fact, NETWORK)}
    assert ("eth0" in texts["etc/network/interfaces"]) is (TREES[name][0] == "ifupdown")


def test_a_tree_without_any_known_system_fails_with_the_way_out():
    with pytest.raises(Failed, match="none of netplan, ifcfg, ifupdown, keyfile, networkd.*setup_network"):
        choose.render_for(tree("etc/rc.d"), NETWORK)


def test_netplan_uses_the_back_end_that_is_there():
    base = ("etc/netplan", "usr/sbin/netplan")
    text = lambda *more: choose.render_for(tree(*base, *more), NETWORK)[0].text
    assert "renderer: networkd" in text(*SYSTEMD, "usr/sbin/NetworkManager")
    assert "renderer: NetworkManager" in text("usr/sbin/NetworkManager")


def test_systemd_guests_get_a_link_file_that_keeps_eth0_and_others_do_not():
    link = "etc/systemd/network/05-dtcxen-eth0.link"
    assert link in paths(tree(*TREES["rocky 9"][1]))
    assert link not in paths(tree(*TREES["debian 5"][1]))


def test_card_names_of_the_image_go_and_are_not_written_again():
    fact = tree(*TREES["debian 5"][1], "etc/udev/rules.d/70-persistent-net.rules", "lib/udev/rules.d/75-persistent-net-generator.rules")
    assert "etc/udev/rules.d/70-persistent-net.rules" in choose.stale(fact)
    assert "etc/udev/rules.d/75-persistent-net-generator.rules" in paths(fact)


def test_cloud_init_is_told_to_leave_the_network_alone():
    files = {file.path: file.text for file in choose.render_for(tree(*TREES["debian 12 cloud image"][1]), NETWORK)}
    assert files["etc/cloud/cloud.cfg.d/99-dtcxen-network.cfg"].endswith("network:\n  config: disabled\n")


def test_the_link_of_resolved_stays_only_where_resolved_is_told_the_servers():
    ubuntu = tree(*TREES["ubuntu 24.04"][1])
    assert "etc/resolv.conf" not in paths(ubuntu) and "etc/resolv.conf" not in choose.stale(ubuntu)
    switched_off = tree(*(path for path in TREES["ubuntu 24.04"][1] if path != RESOLVED))
    assert "etc/resolv.conf" in paths(switched_off) and "etc/resolv.conf" in choose.stale(switched_off)
    plain_file = tree(*TREES["ubuntu 24.04"][1], etc__resolv_conf="")
    plain_file = TreeFact({"etc/resolv.conf": "nameserver 10.0.0.1\n"}, plain_file.paths)
    assert "etc/resolv.conf" in paths(plain_file)
    ifupdown = tree(*TREES["debian 12 of debootstrap"][1], RESOLVED, "etc/resolv.conf")
    assert "etc/resolv.conf" in paths(ifupdown)


def test_networkd_is_switched_on_where_it_is_off_and_alone():
    unit = f"{WANTS}/systemd-networkd.service"
    assert choose.links_for(tree(*SYSTEMD)) == ((unit, "/lib/systemd/system/systemd-networkd.service"),)
    assert choose.links_for(tree(*SYSTEMD, unit)) == ()
    assert choose.links_for(tree(*TREES["debian 12 of debootstrap"][1])) == ()


def test_only_networks_that_would_come_before_ours_are_removed_from_networkd():
    fact = tree(*SYSTEMD, "etc/systemd/network/00-a.network", "etc/systemd/network/90-wg0.network", "etc/systemd/network/x.link")
    assert choose.stale(fact) == ("etc/systemd/network/00-a.network",)


def test_the_host_name_goes_into_red_hats_general_file():
    files = {file.path: file.text for file in choose.render_for(tree(*TREES["centos 5"][1]), NETWORK, hostname="a.example.com")}
    assert "HOSTNAME=a.example.com\n" in files["etc/sysconfig/network"]
