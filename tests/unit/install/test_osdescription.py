"""Files of os.d: what each kind says, and every problem at once, by file and key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dtcxen_soap.install import osdescription
from dtcxen_soap.install.osdescription import parse
from dtcxen_soap.osfacts import RemoteBundle, RpmDescription, RpmRepository, SuiteDescription
from dtcxen_soap.vps import BootMode, Mib

SHA = "ab" * 32
SUITE = """
installer = "debootstrap"
release = "noble"
mirror = "https://mirror.example/ubuntu"
components = ["main", "universe"]
keyring = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
"""
RPM = """
installer = "dnf"
releasever = "9-stream"
packages = ["coreutils", "dnf"]
[[repositories]]
name = "baseos"
metalink = "https://mirrors.example/metalink?repo=baseos-$releasever&arch=$basearch"
gpgkey = "/etc/pki/RPM-GPG-KEY-centosofficial"
"""
BUNDLE = f"""
installer = "bundle"
url = "https://mirror.example/images/small.tar.xz"
sha256 = "{SHA.upper()}"
"""


def described(text: str, name: str = "it"):
    parsed = parse(text.encode(), name, f"/os.d/{name}.toml")
    assert parsed.problems == ()
    return parsed.description


def problems(text: str, name: str = "it") -> list[str]:
    parsed = parse(text.encode(), name, f"/os.d/{name}.toml")
    assert parsed.description is None
    assert all(each.startswith(f"/os.d/{name}.toml: ") for each in parsed.problems)
    return [each.removeprefix(f"/os.d/{name}.toml: ") for each in parsed.problems]


def test_a_suite():
    more = 'label = "Ubuntu 24.04"\nboot_mode = "pvh-grub"\nmore_suites = ["noble-updates"]\npackages = ["openssh-server"]\nkernel_packages = ["linux-image-virtual"]\n'
    assert described(SUITE + more, "ubuntu-noble") == SuiteDescription(
        name="ubuntu-noble", label="Ubuntu 24.04", boot_mode=BootMode.PVH_GRUB, release="noble", mirror="https://mirror.example/ubuntu", components=("main", "universe"),
        keyring="/usr/share/keyrings/ubuntu-archive-keyring.gpg", more_suites=("noble-updates",), packages=("openssh-server",), kernel_packages=("linux-image-virtual",))


def test_an_rpm_system():
    more = '[[repositories]]\nname = "mine"\nbaseurl = ["file:///srv/rpm", "http://a.example/$basearch/"]\ngpgkey = ["/k/a", "/k/b"]\nrepo_gpgcheck = true\n'
    found = described('groups = ["core"]\nkernel_packages = ["kernel-core"]\n' + RPM + more)
    assert found == RpmDescription(
        name="it", releasever="9-stream", packages=("coreutils", "dnf"), groups=("core",), kernel_packages=("kernel-core",), repositories=(
            RpmRepository(name="baseos", gpgkey=("/etc/pki/RPM-GPG-KEY-centosofficial",), metalink="https://mirrors.example/metalink?repo=baseos-$releasever&arch=$basearch"),
            RpmRepository(name="mine", gpgkey=("/k/a", "/k/b"), baseurl=("file:///srv/rpm", "http://a.example/$basearch/"), repo_gpgcheck=True)))


def test_a_bundle():
    assert described(BUNDLE + 'boot_mode = "pygrub"\nmost_mib = 512\n') == RemoteBundle(
        name="it", boot_mode=BootMode.PYGRUB, url="https://mirror.example/images/small.tar.xz", sha256=SHA, most_mib=Mib(512))
    assert described(BUNDLE).most_mib == Mib(8192)


def test_every_problem_at_once():
    text = """
installer = "dnf"
lable = "CentOS"
release = "9"
boot_mode = "hvm"
packages = ["bash", "a b"]
kernel_packages = "kernel"
[[repositories]]
name = "main"
baseurl = "ftp://a.example/"
[[repositories]]
name = "two"
baseurl = "http://u:p@a.example/"
mirrorlist = "http://a.example/list"
gpgkey = "key.asc"
gpgcheck = false
"""
    assert problems(text) == [
        "lable: unknown; did you mean label?",
        "release: unknown; did you mean releasever?",
        'boot_mode: "hvm" is not valid, expected one of pvh-grub, pv-grub, pygrub, direct',
        'packages: "a b": expected a package\'s name',
        'kernel_packages: "kernel" is not valid, expected a list',
        "releasever: it is missing",
        'repositories, number 1: name: "main" is not valid, expected a name of letters, digits and ._-, not main',
        'repositories, number 1: baseurl: "ftp://a.example/" is not valid, "ftp://a.example/": expected an address that begins with https:// or http:// or file://',
        "repositories, number 1: gpgkey: it is missing",
        'repositories, number 2: baseurl: "http://u:p@a.example/" is not valid, "http://u:p@a.example/": '
        "user and password in an address would end up in logs, expected one without",
        'repositories, number 2: gpgkey: "key.asc" is not valid, "key.asc": expected the absolute path of a file, of letters, digits and /._+-',
        "repositories, number 2: gpgcheck: unknown; did you mean repo_gpgcheck?",
        "repositories, number 2: exactly one of baseurl, mirrorlist, metalink must be there"]


@pytest.mark.parametrize(("text", "problem"), [
    ("", "installer: it is missing, expected one of debootstrap, dnf, bundle"),
    ('installer = "yum"', 'installer: "yum" is not valid'),
    ("installer = 7", "installer: 7 is not valid"),
    ("installer = ", "not TOML: "),
    ("a = " + "[" * 5000, "not TOML: "),
    (SUITE + "sha256 = 1", "sha256: unknown; that is for installer bundle"),
    (SUITE + "when = 2026-01-01", "when: unknown"),
    (SUITE + '"a\\nb" = 1', '"a\\nb": unknown'),
    (SUITE + "label = 'a\tb'", "label: "),
    (SUITE + "label = 2026-01-01", "label: "),
    (SUITE.replace("noble", "../noble"), "release: "),
    (SUITE.replace("noble", "-noble"), "release: "),
    (SUITE.replace("https://mirror.example/ubuntu", "https://mirror.example/ ubuntu"), "mirror: "),
    (SUITE.replace("https://mirror.example/ubuntu", "https://mirror.example/[trusted=yes]"), "mirror: "),
    (SUITE.replace("https://mirror.example/ubuntu", "https:///x"), "mirror: "),
    (SUITE.replace("https://mirror.example/ubuntu", "file://host/x"), "mirror: "),
    (SUITE.replace('"main", ', '"main -x", '), "components: "),
    (SUITE.replace('["main", "universe"]', "[]"), "components: expected a list that is not empty"),
    (SUITE.replace("/usr/share/keyrings/ubuntu", "/usr/../keyrings/ubuntu"), "keyring: "),
    (SUITE + 'packages = ["--hook-dir=/x"]', 'packages: "--hook-dir=/x": '),
    (SUITE + 'packages = ["a,b"]', "packages: "),
    (RPM + 'gpgkey2 = "/x"', "repositories, number 1: gpgkey2: unknown; did you mean gpgkey?"),
    (RPM.replace('"coreutils"', '"-x"'), "packages: "),
    (RPM.replace('"coreutils"', '"@core"'), "packages: "),
    (RPM.replace('metalink = "', 'baseurl = "http://x/,'), "repositories, number 1: baseurl: "),
    (RPM.replace("https://mirrors.example/", "https://mirrors.example/ gpgcheck=0"), "repositories, number 1: metalink: "),
    (RPM.replace("[[repositories]]", "[repositories]"), "repositories: expected at least one table [[repositories]]"),
    (RPM.partition("[[")[0], "repositories: it is missing"),
    (RPM + RPM.partition("\n[[")[2].join(("[[", "")), "repositories: baseos is there more than once"),
    (BUNDLE.replace("small.tar.xz", "small.qcow2"), "url: "),
    (BUNDLE.replace("https:", "ftp:"), "url: "),
    (BUNDLE.replace(SHA.upper(), SHA[1:]), "sha256: "),
    (BUNDLE + "most_mib = 0", "most_mib: "),
    (BUNDLE + "most_mib = true", "most_mib: "),
])
def test_what_is_not_taken(text: str, problem: str):
    (told,) = problems(text)
    assert told.startswith(problem)


EXAMPLES = sorted((Path(__file__).parents[3] / "etc/dtc-xen/os.d").iterdir())


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_the_examples_are_descriptions(file: Path):
    assert file.name.endswith(".toml.example") and described(file.read_text(), file.name.partition(".")[0]).label


def test_there_is_an_example_of_each_installer():
    assert {type(described(file.read_text())) for file in EXAMPLES} == {kind for kind, _ in osdescription._INSTALLERS.values()}


def test_a_built_in_name_is_taken():
    assert problems(SUITE, "debian") == ["debian is built in, and described by the settings: choose another name"]


def test_bytes_that_are_no_text():
    assert parse(b"installer = '\xff'", "it", "f").problems == ("f: not UTF-8",)


@pytest.mark.parametrize(("kind", "keys"), list(osdescription._INSTALLERS.values()), ids=osdescription._INSTALLERS)
def test_each_key_is_a_field_and_each_field_a_key(kind, keys):
    assert {field.name for field in dataclasses.fields(kind)} == {"name", *osdescription._COMMON, *keys}
    optional = {field.name for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING}
    assert optional == {key for key, row in (osdescription._COMMON | keys).items() if not row.required}
