"""Books for reviews: one that is given, whatever the database has, and the one that a client has."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from trading.execution.exposure import BOOK
from trading.risk import state
from trading.risk.limits import Book
from trading.risk.state import BookQuery


def given(book: Book) -> BookQuery:
    """A query that finds ``book``."""
    return BookQuery("SELECT 1 AS one", lambda row: book)


def unreadable(row: Mapping[str, Any]) -> Book:
    """What a query reads where a row makes no sense."""
    raise LookupError("no row")


def read_book(client_id: UUID) -> Book:
    """What a client holds, and its results, as a review reads them."""
    return state.seen(client_id, BOOK).book()
