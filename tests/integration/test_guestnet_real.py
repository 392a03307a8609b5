"""The guest's own tools on our files: ifupdown and systemd-networkd bring up a card in a namespace; netplan and nmcli judge.

Packages: ifupdown, iproute2, systemd (systemd-networkd), netplan.io, network-manager (nmcli).
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess

import pytest

from dtcxen_soap.guestnet import ifupdown, keyfile, netplan, networkd
from dtcxen_soap.guestnet.files import default_route
from tests.networks import CASES, MAC

pytestmark = [pytest.mark.machine, pytest.mark.debian13]
NETWORKD = "/usr/lib/systemd/systemd-networkd"
NETPLAN = "/usr/libexec/netplan/generate"
"""The generator itself: the `netplan` command would also ask a running systemd to reload."""

# A card eth0 whose cable is plugged in, alone in a namespace; then $2.. brings it up; then what the kernel says.
CARD = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t sysfs -o ro none /sys
mount -t tmpfs tmpfs /etc/network
mkdir -p /run/network /etc/network/if-pre-up.d /etc/network/if-up.d
ip link set lo up
ip link add eth0 address "$MAC" type veth peer name peer0
ip link set peer0 up
"""
# systemd-networkd stays until every default route and address is there, 10 s at most. A veth has a
# kind, and no permanent address; a Xen card is the other way round.
RUN_NETWORKD = """
install -d -o systemd-network -g systemd-network /run/systemd/netif
mkdir -p /etc/systemd/network /run/systemd/network
mount -t tmpfs tmpfs /etc/systemd/network
chmod 755 /etc/systemd/network
for file in "$FILES"/*; do
    sed '/^Kind=/d; s/^PermanentMACAddress=/MACAddress=/' "$file" > "/etc/systemd/network/${file##*/}"
done
"$NETWORKD" >/run/log 2>&1 &
for i in $(seq 100); do
    routes=$( (ip route show default; ip -6 route show default) | wc -l)
    addresses=$(ip -oneline addr show eth0 scope global | grep -vc tentative) || true
    [ "$routes $addresses" = "$AWAITED" ] && break
    sleep 0.1
done
kill $!
grep -i 'unknown\\|failed to parse\\|invalid' /run/log >&2 || true
"""
TOLD = """
ip -json -details addr show eth0
ip -json route show default
ip -json -6 route show default
"""


def needs(program):
    return pytest.mark.skipif(not (shutil.which(program) or os.path.exists(program)), reason=f"{program} is not installed")


def in_namespace(script, **variables):
    """Run a script in network and mount namespaces of its own; what the kernel has then, and what was complained of."""
    done = subprocess.run(["unshare", "--net", "--mount", "sh", "-eu", "-c", CARD + script + TOLD], env={**os.environ, "MAC": MAC, **variables},
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    texts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return texts[-3][0]["addr_info"], [*texts[-2], *texts[-1]], done.stderr


def check(network, addresses, routes, broadcasts=True):
    """The kernel has exactly the addresses and default routes that were asked for."""
    wanted = {str(address.interface) for address in network.nic.addresses}
    assert {f"{item['local']}/{item['prefixlen']}" for item in addresses if item["scope"] == "global"} == wanted
    assert {route["gateway"] for route in routes} == {str(gateway) for gateway in network.gateways}
    assert all(route["dev"] == "eth0" for route in routes)
    seen = {item["local"]: item.get("broadcast") for item in addresses}
    for address in network.nic.addresses if broadcasts else ():
        if address.broadcast:
            assert seen[str(address.ip)] == str(address.broadcast)


@pytest.mark.root
@needs("ifup")
@pytest.mark.parametrize("case", CASES)
def test_ifupdown_brings_the_card_up(case, tmp_path):
    file = tmp_path / "interfaces"
    file.write_text(ifupdown.render(CASES[case])[0].text)
    addresses, routes, complaints = in_namespace('ifup -a -i "$FILE"', FILE=str(file))
    check(CASES[case], addresses, routes)
    assert not complaints.replace("Waiting for DAD... Done", "").strip()


@needs("ifquery")
@pytest.mark.parametrize("case", CASES)
def test_ifupdown_reads_every_option(case, tmp_path):
    file = tmp_path / "interfaces"
    file.write_text(ifupdown.render(CASES[case])[0].text)
    told = subprocess.run(["ifquery", "-i", file, "eth0"], capture_output=True, text=True, check=True)
    assert f"dns-nameservers: {' '.join(map(str, CASES[case].dns))}" in told.stdout and not told.stderr


def bring_up_networkd(network, directory):
    awaited = f"{len(network.gateways)} {len(network.nic.addresses)}"
    return in_namespace(RUN_NETWORKD, FILES=str(directory), NETWORKD=NETWORKD, AWAITED=awaited)


@pytest.mark.root
@needs(NETWORKD)
@pytest.mark.parametrize("case", CASES)
def test_networkd_brings_the_card_up(case, tmp_path):
    (tmp_path / "05-dtcxen-eth0.network").write_text(networkd.render(CASES[case])[0].text)
    addresses, routes, complaints = bring_up_networkd(CASES[case], tmp_path)
    check(CASES[case], addresses, routes)
    assert not complaints


def generated(network, root, renderer="networkd"):
    """What netplan makes of our file below `root`."""
    file = netplan.render(network, renderer)[0]
    path = root / file.path
    path.parent.mkdir(parents=True)
    path.write_text(file.text)
    path.chmod(file.mode)
    done = subprocess.run([NETPLAN, "--root-dir", root], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr


@pytest.mark.root
@needs(NETPLAN)
@needs(NETWORKD)
@pytest.mark.parametrize("case", CASES)
def test_what_netplan_generates_brings_the_card_up(case, tmp_path):
    generated(CASES[case], tmp_path)
    addresses, routes, complaints = bring_up_networkd(CASES[case], tmp_path / "run/systemd/network")
    check(CASES[case], addresses, routes, broadcasts=False)
    assert not complaints


def connection(text):
    """A keyfile as nmcli reads it and writes it again: normal form, or an error."""
    done = subprocess.run(["nmcli", "--offline", "connection", "modify"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.read_string(done.stdout)
    return parser


@needs("nmcli")
@pytest.mark.parametrize("case", CASES)
def test_networkmanager_understands_the_keyfile(case):
    network = CASES[case]
    read = connection(keyfile.render(network)[0].text)
    assert read["ethernet"]["mac-address"].lower() == MAC
    for version in (4, 6):
        section, route = read[f"ipv{version}"], default_route(network, version)
        ips = [value.partition(",") for key, value in section.items() if key.startswith("address")]
        assert {ip for ip, _, _ in ips} == {str(address.interface) for address in network.nic.addresses if address.version == version}
        told = section["route1"].partition(",")[2] if route and route.onlink else next((gateway for _, _, gateway in ips if gateway), section.get("gateway"))
        assert told == (str(route.gateway) if route else None)
        assert ("onlink=true" in section.get("route1_options", "")) is bool(route and route.onlink)
        wanted = [str(server) for server in network.dns if server.version == version] if ips else []
        assert section.get("dns", "").strip(";").split(";") == (wanted or [""])
