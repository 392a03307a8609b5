"""Files that are written from the tables, and never by hand: the commented configuration, the man pages, the operations page, what sshd is told, the WSDL.

`make documents` writes them; tests/contract/test_documents.py holds them to the tables.
"""

from __future__ import annotations

from pathlib import Path

from dtcxen_soap import __version__, accounts, settings
from dtcxen_soap.wire import wsdl
from tools import manpages, operationspage
from tools.manpages import roff as _roff

ROOT = Path(__file__).resolve().parents[1]
_BEFORE = r""".SH NAME
dtc\-xen.conf \- settings of the DTC\-Xen node daemon
.SH DESCRIPTION
.I /etc/dtc\-xen/dtc\-xen.conf
holds a
.IR KEY = value
per line. Quotes and comments are read as a shell reads them; nothing is executed or expanded. Names match without regard to case.
Old names of a key are read too. An unknown key is a warning, a bad value keeps the daemon from starting.
.B dtcxen check
shows every effective value, where it came from, and every problem.
.PP
Files of older nodes are read as they stand. SIGHUP has the daemon read its settings again; a file with problems changes nothing then.
.SH SETTINGS
"""
_AFTER = r""".SH FILES
.TP
.I /etc/dtc\-xen/htpasswd
SOAP users; bcrypt is written, older hashes are read.
.TP
.I /etc/dtc\-xen/hooks/
Programs around operations, in
.IR operation \-{pre,post,error}.d .
.TP
.I /etc/dtc\-xen/firstboot.d/
What every new system runs once, inside itself, at its first boot.
.SH SEE ALSO
.BR dtcxen (1),
.BR dtcxen\-soap (8),
.BR xl.cfg (5),
.BR htpasswd (1)
"""


def man_page() -> str:
    """man/dtc-xen.conf.5: a paragraph per setting, under its group."""
    parts = [f'.\\" Written by tools/documents.py from dtcxen_soap/settings.py.\n.TH DTC\\-XEN.CONF 5 "" "dtcxen\\-soap {_roff(__version__)}"\n', _BEFORE]
    group = ""
    for row in settings.TABLE:
        if row.group != group:
            group = row.group
            parts.append(f".SS {_roff(group)}\n")
        default = f"Default: {_roff(row.default)}." if row.default else "Not set by default."
        old = f"\nOld name: {_roff(', '.join(row.old))}." if row.old else ""
        parts.append(f".TP\n.B {_roff(row.name)}\n{_roff(row.help)}\n{default}{old}\n")
    return "".join([*parts, _AFTER])


def documents() -> dict[str, bytes]:
    """Every written file, by its path from the top."""
    return {
        "etc/dtc-xen/dtc-xen.conf": settings.render().encode(),
        "docs/operations.md": operationspage.page().encode(),
        "etc/ssh/sshd_config.d/dtc-xen.conf": accounts.sshd_config(settings.defaults()).encode(),
        "man/dtc-xen.conf.5": man_page().encode(),
        "man/dtcxen-soap.8": manpages.daemon().encode(),
        "man/dtcxen.1": manpages.dtcxen().encode(),
        "wsdl/dtcxen.wsdl": wsdl.default(),
    }


if __name__ == "__main__":
    for name, content in documents().items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_bytes(content)
