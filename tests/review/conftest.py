"""The made-up workbook, after one run and after two."""
import pytest
from review_book import Book


@pytest.fixture(scope="session")
def first_run(tmp_path_factory) -> Book:
    "One run, promoted and committed. Copy it before you change it."
    book = Book(tmp_path_factory.mktemp("first") / "book")
    book.root.mkdir()
    (book.root / "settings.ini").write_text("[workbook]\nname = parcels\nnoun = parcels\n")
    book.git("init", "-q")
    book.promote(book.run(1))
    book.commit("First run")
    return book


@pytest.fixture(scope="session")
def two_runs(first_run, tmp_path_factory) -> Book:
    "A second run, compared with the first, committed, and not promoted. Copy it before you change it."
    book = first_run.copy(tmp_path_factory.mktemp("second") / "book")
    from model_ops.registry.ledger import Ledger
    book.run(4, opponent=Ledger(book.settings.ledger_url).champion().champion)
    book.commit("Second run")
    return book
