"""The page at /: shows the models, predicts rows that a person pastes. Plain HTML and a script, from this server alone."""

from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["routes"]

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def routes() -> list[Route]:
    """An address for each file; they need no token, for they hold nothing of anybody's."""
    return [Route(path, _file(name, media_type)) for path, (name, media_type) in _FILES.items()]


def _file(name: str, media_type: str):
    content = resources.files("upstairs.serve").joinpath("page_files", name).read_bytes()

    def send(request: Request) -> Response:
        return Response(content, headers=_HEADERS, media_type=media_type)

    return send
