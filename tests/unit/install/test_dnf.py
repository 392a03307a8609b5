"""RPM systems: the configuration that dnf gets, its steps, and what is refused before anything is touched."""

from __future__ import annotations

import dataclasses

import pytest

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import NodeFact
from dtcxen_soap.install import dnf, guestkernel
from dtcxen_soap.osfacts import RpmDescription, RpmRepository
from dtcxen_soap.plans import Run, TreeDirectory, WriteFile
from dtcxen_soap.settings import load
from dtcxen_soap.vps import BootMode

REPOSITORIES = (
    RpmRepository(name="baseos", gpgkey=("/k/a", "/k/b"), baseurl=("http://a.example/$basearch/", "file:///srv/rpm"), repo_gpgcheck=True),
    RpmRepository(name="extras", gpgkey=("/k/c",), metalink="https://m.example/?repo=extras&arch=$basearch"),
    RpmRepository(name="more", gpgkey=("/k/c",), mirrorlist="https://m.example/list"))
CENTOS = RpmDescription(name="centos", releasever="9-stream", repositories=REPOSITORIES, packages=("bash", "dnf"), groups=("core",), kernel_packages=("kernel-core",))
SETTINGS = load("centos_added_rpms='openssh-server bash'\nstate_dir=/s\ninstall_timeout_minutes=7").settings


def made(description=CENTOS, boot=BootMode.DIRECT, settings=SETTINGS):
    return dnf.steps("/m/01", description, settings, boot)


def installing(**more) -> tuple[str, ...]:
    return next(step.argv for step in made(**more) if isinstance(step, Run))


def test_the_configuration(golden):
    golden("dnf/centos.conf", dnf.configuration(CENTOS))


def test_every_repository_checks_signatures_and_none_of_the_nodes_is_read():
    text = dnf.configuration(CENTOS)
    main, *repositories = text.split("\n[")
    assert len(repositories) == 3 and all("\ngpgcheck=1\n" in each and "\ngpgkey=file:///k/" in each for each in repositories)
    assert "\nlocalpkg_gpgcheck=1\n" in main and "\nreposdir=/nonexistent\n" in main and "\nplugins=0\n" in main
    assert [each.partition("]")[0] for each in repositories if "repo_gpgcheck=1" in each] == ["baseos"]


def test_the_steps():
    home_step, config, macros, dev, proc, install, clean = made()
    home = home_step.path
    assert home.startswith("/s/os/dnf/centos-") and home_step.mode == 0o700
    assert isinstance(config, WriteFile) and (config.path, config.content) == (f"{home}/dnf.conf", dnf.configuration(CENTOS))
    assert (macros.path, macros.content) == (f"{home}/.rpmmacros", "%_dbpath /var/lib/rpm\n")
    assert [(step.tree, step.path) for step in (dev, proc) if isinstance(step, TreeDirectory)] == [("/m/01", "dev"), ("/m/01", "proc")]
    options = ("dnf-3", f"--config={home}/dnf.conf", "--installroot=/m/01", "--releasever=9-stream")
    assert install.argv == (*options, "install", "--", "bash", "dnf", "@core", "openssh-server") and clean.argv == (*options, "clean", "all")
    for step in (install, clean):
        assert step.contained and step.env == (("HOME", home),) and step.timeout_seconds == 420
        assert step.confinement.writable == ("/m/01",) and step.confinement.furnished == "/m/01"


def test_what_is_added():
    assert "openssh-server" not in installing(description=dataclasses.replace(CENTOS, name="almalinux"))
    for boot in BootMode:
        assert ("kernel-core" in installing(boot=boot)) is (boot in guestkernel.MODES)


def test_another_content_has_another_home():
    homes = {step.path for each in (
        CENTOS, dataclasses.replace(CENTOS, repositories=REPOSITORIES[:1]), dataclasses.replace(CENTOS, rpm_database="/usr/lib/sysimage/rpm")) for step in made(each)[:1]}
    assert len(homes) == 3
    assert made(dataclasses.replace(CENTOS, rpm_database="/usr/lib/sysimage/rpm"))[2].content == "%_dbpath /usr/lib/sysimage/rpm\n"


def test_what_the_node_lacks_is_told_before_anything_is_touched():
    node = NodeFact("node", "id", "", "", commands=frozenset({"unshare", "dnf"}))
    with pytest.raises(Failed, match=r"Install centos: the node lacks dnf-3: .* Debian's package dnf"):
        dnf.refuse_unready(CENTOS, node)
    dnf.refuse_unready(CENTOS, dataclasses.replace(node, commands=frozenset(dnf.COMMANDS)))


@pytest.mark.parametrize(("output", "said"), [
    ("Downloading Packages:\nPackage small-9-1.noarch.rpm is not signed\nError: GPG check FAILED\nx", "Package small-9-1.noarch.rpm is not signed; Error: GPG check FAILED"),
    ("Error: Unable to find a match: a b\nError: Unable to find a match: a b\n", "Error: Unable to find a match: a b"),
    ("all is well\n", "")])
def test_what_dnf_says_went_wrong(output, said):
    assert dnf.reason(output) == said
