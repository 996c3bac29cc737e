"""Check the built site: links inside it, words that its search has to find, and stray warnings.

    python docs/check_site.py docs/_build/html

Links: each relative address and each anchor has to exist, and no page loads anything from another
site. Words: Sphinx shows the pages that have all words of a query, so the page named below has to
be among these; an ``index`` directive there makes it the first. Warnings: an example that shows one
shows a path of the machine that built the site.

Build with ``-E``: the search index of a second build lacks the pages that have not changed.
"""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.search.en import SearchEnglish

WORDS = {
    "p-values": "user_guide/questions",
    "confidence intervals": "user_guide/questions",
    "odds ratios": "user_guide/questions",
    "reference levels": "user_guide/recipes",
    "contrasts": "user_guide/tests_and_means",
    "save": "user_guide/trust",
    "load": "user_guide/trust",
    "warning": "user_guide/choosing",
    "unseen groups": "user_guide/predicting",
    "cross-validation by group": "user_guide/predicting",
    "overdispersion": "user_guide/recipes",
    "autocorrelation": "user_guide/limits",
    "nested ids": "user_guide/choosing",
    "repeated measures": "user_guide/choosing",
    "panel data": "user_guide/recipes",
    "AUC": "user_guide/recipes",
    "calibration": "user_guide/recipes",
    "SHAP": "user_guide/frames",
    "LaTeX": "user_guide/questions",
    "meta-analysis": "user_guide/recipes",
}
INDEX = "user_guide/how_do_i"  # has all of them
PATHS = ("site-packages/", str(Path(__file__).resolve().parent.parent) + "/")


class Page(HTMLParser):
    """Anchors and addresses of a page."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.addresses, self.loaded = {"", "top"}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Collect ids, names, links and pictures."""
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        self.addresses += [attrs[key] for key in ("href", "src") if attrs.get(key)]
        if tag != "a" and attrs.get("rel") != "canonical":
            self.loaded += [attrs[key] for key in ("href", "src") if attrs.get(key)]


def broken_links(site):
    """Links to files or anchors that do not exist, and the numbers of links and pages."""
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    pages = {path: Page(text) for path, text in texts.items()}
    broken = [
        f"{path.relative_to(site)} shows a path"
        for path, text in texts.items()
        if any(part in text for part in PATHS)
    ]
    n_links = 0
    for path, page in pages.items():
        elsewhere = [address for address in page.loaded if urlsplit(address).netloc]
        broken += [f"{path.relative_to(site)} loads {address}" for address in elsewhere]
        for address in page.addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            n_links += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                broken.append(f"{path.relative_to(site)}: {address}")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                broken.append(f"{path.relative_to(site)}: no anchor {address}")
    return broken, n_links, len(pages)


def pages_with(query, index, language):
    """Pages that have all words of a query, in their text or their titles."""
    found = None
    for word in re.findall(r"\w+", query.lower()):
        if word in language.stopwords or word.isdigit():
            continue
        stem = language.stem(word)
        pages = set()
        for terms in (index["terms"], index["titleterms"]):
            numbers = terms.get(stem, [])
            pages |= set(numbers if isinstance(numbers, list) else [numbers])
        found = pages if found is None else found & pages
    return {index["docnames"][number] for number in found or ()}


def main(folder):
    """Print what was checked, and fail if something is missing."""
    site = Path(folder).resolve()
    broken, n_links, n_pages = broken_links(site)
    print(f"{n_links} links inside {n_pages} pages, {len(broken)} broken")
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    language = SearchEnglish({})
    missing = []
    for query, page in WORDS.items():
        found = pages_with(query, index, language)
        missing += [
            f"'{query}' does not find {each}" for each in (page, INDEX) if each not in found
        ]
        first = [
            index["docnames"][number]
            for number, _, is_main in index["indexentries"].get(query.lower(), [])
            if is_main
        ]
        if first != [page]:
            missing.append(f"'{query}' finds {first} first: {page} needs '.. index:: ! {query}'")
        print(f"{query}: {len(found)} pages, {page} first" if first == [page] else query)
    sys.exit("\n".join(broken + missing) or 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
