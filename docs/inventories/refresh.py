"""Addresses of the pages of other projects that our pages link to.

The site is built without a network, so the names that it links to are here, in the plain-text
format of Sphinx's inventories: a name, its kind and its page per line. To link to another name, add
a line with its name and kind and any page; then take the pages from the project's own inventory:

    curl -O https://pandas.pydata.org/docs/objects.inv
    python docs/inventories/refresh.py docs/inventories/pandas.inv objects.inv

Names that the downloaded inventory does not have are printed, and keep their page.
"""

import sys
from pathlib import Path

from sphinx.util.inventory import InventoryFile

HEADER = 3


def refresh(own, downloaded):
    """Rewrite an inventory of ours with the pages of a downloaded one.

    Parameters
    ----------
    own, downloaded : str
        Paths of the two files.
    """
    pages = {}
    for kind, items in InventoryFile.loads(Path(downloaded).read_bytes(), uri="").data.items():
        pages |= {(kind, name): item.uri.partition("#")[0] for name, item in items.items()}
    lines = Path(own).read_text().splitlines()
    entries = []
    for line in lines[HEADER:]:
        name, kind, page = line.split()
        found = pages.get((f"py:{kind}", name))
        if found is None:
            print(f"{name}: not in {downloaded}")
        entries.append(f"{name} {kind} {found or page}")
    Path(own).write_text("\n".join(lines[:HEADER] + sorted(entries)) + "\n")


if __name__ == "__main__":
    refresh(*sys.argv[1:])
