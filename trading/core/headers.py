"""What every answer carries so that a browser does no more with it than it should."""

from typing import Final

from django.http import HttpRequest, HttpResponseBase

from trading.core.errors import is_page

_CLOSED: Final = "base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
API_POLICY: Final = f"default-src 'none'; form-action 'none'; {_CLOSED}"
"""For data: nothing in it is ever run or loaded."""
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    f" form-action 'self'; {_CLOSED}"
)
"""For our pages and the API's forms: files of our own, and nothing that is written in a page."""
ADMIN_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    f" font-src 'self'; connect-src 'self'; form-action 'self'; {_CLOSED}"
)
"""For the admin. Its theme's library evaluates the expressions of attributes, which takes 'unsafe-eval', and sets its
colours in the page, which takes 'unsafe-inline' for styles. No script that is written in a page runs there either."""

_OF_ALL: Final = {
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
DOCS: Final = "/api/docs"


def policy_for(request: HttpRequest) -> str:
    """The content security policy of a path."""
    if not is_page(request):
        return PAGE_POLICY if request.path == DOCS else API_POLICY
    return ADMIN_POLICY if request.path.startswith("/admin/") else PAGE_POLICY


def protect(request: HttpRequest, response: HttpResponseBase) -> None:
    """Add what a view or Django's own middleware has not said."""
    response.headers.setdefault("Content-Security-Policy", policy_for(request))
    for name, value in _OF_ALL.items():
        response.headers.setdefault(name, value)
