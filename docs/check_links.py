"""Every relative link, picture and anchor of the built site leads somewhere: `make docs` ends with it.

python docs/check_links.py build/docs
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["broken_links"]


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken_links(site: Path) -> list[str]:
    """A line for each link to a file or an anchor that isn't there; addresses of other hosts are left alone."""
    found = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]  # there are templates of the theme
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in found}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, anchor = urlsplit(link), unquote(urlsplit(link).fragment)
            if target.scheme or target.netloc:
                continue
            there = (path.parent / unquote(target.path)).resolve() if target.path else path.resolve()
            there = there / "index.html" if there.is_dir() else there
            known = next((one for name, one in pages.items() if name.resolve() == there), None)
            if not there.exists() or (anchor and known and anchor not in known.anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    return broken


if __name__ == "__main__":
    found = broken_links(Path(sys.argv[1]))
    for line in found:
        print(line)
    sys.exit(bool(found))
