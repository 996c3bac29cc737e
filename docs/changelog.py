"""The page of changes, from CHANGELOG.md, which is for the repository."""

import re
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "CHANGELOG.md"
UNDERLINES = {"#": "=", "##": "-", "###": "~"}


def as_rst(text):
    """Headings, code and links of Markdown, as reStructuredText that the search leaves out."""
    lines = []
    for line in text.splitlines():
        line = re.sub(r"`([^`]+)`", r"``\1``", line)
        line = re.sub(r"\[([^]]+)\]\((https://[^)]+)\)", r"`\1 <\2>`__", line)
        if match := re.match(r"(#+) (.*)", line):
            lines += [match[2], UNDERLINES[match[1]] * len(match[2])]
        else:
            lines.append(line)
    return ":nosearch:\n\n" + "\n".join(lines) + "\n"


def write(app):
    """Write the page if it has changed, before Sphinx looks for pages."""
    page = Path(app.srcdir) / "generated" / "changelog.rst"
    page.parent.mkdir(exist_ok=True)
    text = as_rst(SOURCE.read_text(encoding="utf-8"))
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def setup(app):
    """Register the page."""
    app.connect("builder-inited", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
