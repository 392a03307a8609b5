"""Oracle VM templates: which archives are read, and what of a vm.cfg is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtcxen_soap import ovm
from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import Member
from dtcxen_soap.vps import BootMode
from dtcxen_soap.xen import configread

CONFIG = b"""
bootloader = '/usr/bin/pygrub'
disk = ['file:/OVS/running_pool/EL5/System.img,xvda,w',
        'file:/OVS/running_pool/EL5/oracle.img,xvdb,w',
]
memory = '1024'
name = 'EL5'   # a comment with os.system('x')
vcpus = 2
vif = ['bridge=xenbr0,mac=00:16:3E:1A:B2:C3,type=netfront']
"""
MEMBERS = (Member("EL5", "directory"), Member("EL5/vm.cfg", "file", size=300), Member("EL5/System.img", "file", size=5 << 20), Member("EL5/oracle.img", "file", size=3 << 20))


def inventory(*members: Member) -> ovm.Inventory:
    made = ovm.Inventory(100 << 20)
    assert made.judge(members or MEMBERS) == ""
    return made


def test_a_template() -> None:
    told = ovm.template(CONFIG, inventory())
    assert (told.memory, told.vcpus, told.boot, told.system) == (1024, 2, BootMode.PYGRUB, "EL5/System.img")
    assert [(disk.device, disk.member, disk.size_bytes >> 20) for disk in told.disks] == [("xvda", "EL5/System.img", 5), ("xvdb", "EL5/oracle.img", 3)]


def test_without_a_disk_line_the_only_image_is_it() -> None:
    made = inventory(Member("./vm.cfg", "file"), Member("./x.img", "file"))
    assert ovm.template(b"memory = 1", made).system == "./x.img"


@pytest.mark.parametrize("members, said", [
    ((), "no file vm.cfg"),
    ((Member("a/vm.cfg", "file"), Member("b/vm.cfg", "file")), "several files vm.cfg"),
    ((Member("vm.cfg", "file", size=1 << 20),), "longer than 64 KiB"),
    ((Member("/vm.cfg", "file"),), "absolute name"),
    ((Member("a/../vm.cfg", "file"),), "has .. in its name"),
    ((Member("vm.cfg", "file"), Member("./vm.cfg", "file")), "is there twice"),
    ((Member("x", "symlink", "/etc"),), "is a symlink"),
    ((Member("x", "hardlink", "y"),), "is a hardlink"),
    ((Member("x", "device"),), "is a device"),
    ((Member("x", "fifo"),), "is a fifo"),
    ((Member("x\ny", "file"),), r"'x\\ny' has a control character"),
    ((Member("x\x1b[2J", "file"),), "control character"),
    ((Member("x" * 2000, "file"),), "more than 1000 characters"),
    ((Member("x.img", "file", size=101 << 20),), "more than the 100 MiB"),
    (tuple(Member(f"{number}", "directory") for number in range(1001)), "more than 1000 members"),
])
def test_archives_that_are_not_read(members: tuple[Member, ...], said: str) -> None:
    import re
    assert re.search(said, ovm.Inventory(100 << 20).judge(members))


@pytest.mark.parametrize("config, said", [
    (b"import os\nmemory = 1", "holds code.*import os"),
    (b"memory = __import__('os').system('x')", "holds code"),
    (b"memory = 1; os.system('x')", "holds code"),
    (b"disk = ['file:/x/%s.img,xvda,w' % name]", "holds code"),
    (b"\xff\xfe", "no text in UTF-8"),
    (b"disk = ['file:/OVS/other.img,xvda,w']", "first disk is '/OVS/other.img', and the archive has no such file"),
    (b"memory = 1", "names no disk, and the archive has 2 images"),
])
def test_configurations_that_are_not_believed(config: bytes, said: str) -> None:
    with pytest.raises(Failed, match=said):
        ovm.template(config, inventory())


def test_two_files_of_the_name_of_a_disk() -> None:
    made = inventory(Member("vm.cfg", "file"), Member("a/System.img", "file"), Member("b/System.img", "file"))
    with pytest.raises(Failed, match=r"several files 'System.img'"):
        ovm.template(CONFIG, made)


# -- configread.code --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "", "# nothing\n", "a = 1", "a = -1.5", "a = 0x1F", "a = 'x'", 'a = "x" "y"', "a = ['x', 'y',]", "a = [\n 'x', # why\n 'y'\n]\nb = True", "a = ('x', 1)", "a = [['x', 1], []]",
    "a += ['x']", "a = ''", "a = None; b = 2", "a = {'x': 1}", "a = 'import os; f(x)'", "a = '''x'''",
])
def test_literals_are_no_code(text: str) -> None:
    assert configread.code(text) == ""


@pytest.mark.parametrize("text", [
    "import os", "f(1)", "a = f(1)", "a = f", "a = 'x'.upper()", "a = [f(1)]", "a = 1 + 1", "a = 'x' * 9", "a = 1024*1024", "a = lambda: 1", "a = b = 1", "a[0] = 1", "a.b = 1",
    "if 1: a = 1", "def f(): return 1", "exec 'x'", "a = `x`", "a = f'x'", "a = 'x'('y')", "a = (1)(2)", "a = [1](2)", "a =", "a", "a = [1", "a = 1]", "a = (1]",
    "a = [x for x in y]", "for a in 'x': pass", "a = 1 if f() else 2", "@f", "del a", "a = not 1", "a, b = 1, 2", "1 = a", "a = \\\nf(1)", "print 'x'",
])
def test_code_is_seen(text: str) -> None:
    assert configread.code(text)
    assert configread.code(f"memory = 1\n{text}\nvcpus = 1")


@given(st.text(max_size=200))
def test_whatever_python_would_run_is_code(text: str) -> None:
    """Where Python itself sees anything but names and literals, so do we."""
    import ast
    import warnings
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        configread.code(text)
        return
    if any(isinstance(node, ast.Call | ast.Import | ast.Name | ast.Attribute) and not isinstance(getattr(node, "ctx", None), ast.Store) for one in body for node in ast.walk(one)):
        assert configread.code(text)
