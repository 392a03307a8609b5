"""Files of an image that are about to be changed are kept beside themselves once, as NAME.dtcxen-orig."""

from __future__ import annotations

from dtcxen_soap.facts import TreeFact
from dtcxen_soap.plans import Step, TreeWrite

_SUFFIX = ".dtcxen-orig"


def kept(path: str) -> str:
    """Where the file that an image brought is kept."""
    return path + _SUFFIX


def keep(tree_path: str, path: str, tree: TreeFact, new: str, mode: int = 0o644) -> tuple[Step, ...]:
    """Keep `path`, unless there is none, `new` is the same, or the image's own was kept already."""
    old = tree.texts.get(path)
    if old is None or old == new or tree.has(kept(path)):
        return ()
    return (TreeWrite(why=f"Keep the image's own /{path}.", tree=tree_path, path=kept(path), content=old, mode=mode),)
