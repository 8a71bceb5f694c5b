"""What a store's answers mean, row by row of the table that both languages read; and how refusals of who asks end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ACCESS_KEY, SECRET_KEY, S3Server
from longhaul_trainer.checkpoint.head import HeadGuard
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import (
    AccessError,
    CheckpointFailure,
    ClockError,
    JobFailure,
    NotFoundError,
    RefusalError,
    TransientError,
    UnavailableError,
)
from longhaul_trainer.store.answers import ERRORS, TABLE, meaning_of
from longhaul_trainer.store.client import Store
from protocol_support import claim
from s3_proxy import PASS, Proxy, Request, Verdict, html_page, proxy_before, store_answer


@pytest.fixture(scope="module")
def lasting_proxy(s3_server: S3Server) -> Iterator[Proxy]:
    with proxy_before(s3_server.endpoint) as made:
        yield made


@pytest.fixture
def proxy(lasting_proxy: Proxy) -> Proxy:
    """A proxy that passes everything on."""
    lasting_proxy.rule = lambda request: PASS
    return lasting_proxy


@pytest.fixture(scope="module")
def impatient(lasting_proxy: Proxy) -> Store:
    """A store behind the proxy that asks once."""
    with pytest.MonkeyPatch.context() as patch:
        return through(lasting_proxy, patch, patience="0", refusal="0")


def through(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, *, patience: str = "20", refusal: str) -> Store:
    monkeypatch.setenv("LONGHAUL_S3_ENDPOINT", proxy.endpoint)
    monkeypatch.setenv("LONGHAUL_STORE_PATIENCE_SECONDS", patience)
    monkeypatch.setenv("LONGHAUL_STORE_REFUSAL_SECONDS", refusal)
    return Store.from_environment()


def status_of(row: str) -> int:
    """A status that a row of statuses stands for."""
    if row == "any":
        return 502
    return int(row[0]) * 100 + 24 if row.endswith("xx") else int(row)


def expected(class_: str) -> type[JobFailure]:
    """What a call that asks once ends with."""
    return UnavailableError if class_ == "unavailable" else ERRORS[class_]


class TestAnAnswerMeansWhatTheTableSays:
    @pytest.mark.parametrize("code", TABLE["codes"])
    def test_by_the_stores_own_word(self, store: Store, impatient: Store, proxy: Proxy, prefix: str, code: str) -> None:
        row = TABLE["codes"][code]
        url = f"{prefix}/object"
        store.put(url, b"{}")
        proxy.rule = lambda request: store_answer(row["status"], code)
        with pytest.raises(JobFailure) as told:
            impatient.get(url)
        assert type(told.value) is expected(row["class"])
        assert f"the store answered {row['status']} {code}" in str(told.value)
        assert row.get("remedy", TABLE["classes"][row["class"]]["remedy"]) in str(told.value)
        by_head = meaning_of(row["status"], "").class_ if row["class"] == "out-of-range" else row["class"]
        with pytest.raises(expected(by_head)):
            impatient.info(url)
        with pytest.raises(expected(row["class"])):
            impatient.put(url, b"[]")

    @pytest.mark.parametrize("tidy", [True, False])
    @pytest.mark.parametrize("row", TABLE["statuses"])
    def test_by_its_status_where_it_is_no_stores(
        self, impatient: Store, proxy: Proxy, prefix: str, row: str, tidy: bool
    ) -> None:
        proxy.rule = lambda request: html_page(status_of(row), tidy=tidy)
        failure = expected(TABLE["statuses"][row]["class"])
        with pytest.raises(failure):
            impatient.get(f"{prefix}/object")
        with pytest.raises(failure):
            impatient.info(f"{prefix}/object")
        with pytest.raises(failure):
            impatient.put(f"{prefix}/object", b"{}")

    def test_every_class_has_its_exception_and_failure_class(self) -> None:
        assert set(ERRORS) == set(TABLE["classes"])
        for class_, row in TABLE["classes"].items():
            assert ERRORS[class_].failure_class == row["failure"]
            assert issubclass(ERRORS[class_], RefusalError) == (row["retry"] == "briefly")
            assert issubclass(ERRORS[class_], TransientError) == (row["retry"] == "patiently")


class TestOnlyTheStoresOwnWordSaysThatSomethingIsGone:
    @pytest.mark.parametrize("tidy", [True, False])
    def test_a_missing_head_is_not_seen_in_a_page(
        self, store: Store, impatient: Store, urls: StageUrls, proxy: Proxy, tidy: bool
    ) -> None:
        epoch = claim(store, urls)
        proxy.rule = lambda request: html_page(404, tidy=tidy)
        with pytest.raises(UnavailableError):
            HeadGuard(impatient, urls, epoch).read()
        proxy.rule = lambda request: store_answer(404, "NoSuchKey")
        with pytest.raises(CheckpointFailure):
            HeadGuard(impatient, urls, epoch).read()

    def test_a_head_request_is_believed_only_when_a_get_confirms_it(
        self, store: Store, impatient: Store, proxy: Proxy, prefix: str
    ) -> None:
        url = f"{prefix}/object"
        with pytest.raises(NotFoundError):
            impatient.info(url)
        proxy.rule = lambda request: html_page(404, tidy=True) if request.method == "HEAD" else PASS
        for data in (b"{}", b""):
            store.put(url, data)
            with pytest.raises(UnavailableError):
                impatient.info(url)

    def test_a_portals_page_is_no_object_no_empty_listing_and_no_write(
        self, impatient: Store, proxy: Proxy, prefix: str
    ) -> None:
        proxy.rule = lambda request: html_page(200, tidy=True)
        for call in (
            lambda: impatient.get(f"{prefix}/a"),
            lambda: impatient.info(f"{prefix}/a"),
            lambda: impatient.put(f"{prefix}/a", b""),
            lambda: impatient.folders(prefix),
        ):
            with pytest.raises(UnavailableError):
                call()

    def test_writers_that_only_met_are_no_lost_race(
        self, store: Store, proxy: Proxy, prefix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        patient = through(proxy, monkeypatch, refusal="0")
        answers = iter([store_answer(409, "ConditionalRequestConflict"), store_answer(412, "PreconditionFailed")])
        proxy.rule = lambda request: next(answers, PASS) if request.method == "PUT" else PASS
        patient.create(f"{prefix}/object", b"mine")
        assert store.get(f"{prefix}/object").data == b"mine"


class TestARefusalOfWhoAsks:
    """Expired tokens, denied access, a skewed clock."""

    def test_passes_when_credentials_are_renewed(
        self, store: Store, proxy: Proxy, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        credentials = tmp_path / "credentials"
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(variable)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        renew(credentials, "run-out")
        store.put(f"{prefix}/object", b"read me")
        refused = threading.Event()

        def rule(request: Request) -> Verdict:
            if request.access_key == ACCESS_KEY:
                return PASS
            if refused.is_set():
                renew(credentials, ACCESS_KEY)
            refused.set()
            return store_answer(400, "ExpiredToken")

        proxy.rule = rule
        heard: list[str] = []
        renewing = through(proxy, monkeypatch, refusal="60")
        renewing.on_trouble = heard.append
        assert renewing.get(f"{prefix}/object").data == b"read me"
        assert "ExpiredToken" in heard[0]
        assert heard[-1] == renewing.heard == ""

    @pytest.mark.parametrize(
        ("answer", "failure", "class_"),
        [
            (store_answer(400, "ExpiredToken"), AccessError, "store"),
            (store_answer(403, "AccessDenied"), AccessError, "store"),
            (html_page(403, tidy=False), AccessError, "store"),
            (store_answer(403, "RequestTimeTooSkewed"), ClockError, "infrastructure"),
        ],
        ids=["expired", "denied", "forbidden by a page", "skewed"],
    )
    def test_that_lasts_ends_after_the_stated_time_with_what_was_heard(
        self,
        store: Store,
        urls: StageUrls,
        proxy: Proxy,
        monkeypatch: pytest.MonkeyPatch,
        answer: Verdict,
        failure: type[JobFailure],
        class_: str,
    ) -> None:
        claim(store, urls)
        refused = through(proxy, monkeypatch, refusal="0.5")
        proxy.rule = lambda request: answer
        for call in (
            lambda: refused.get(urls.head),
            lambda: refused.replace(urls.head, b"{}", '"etag"'),
            lambda: refused.create(urls.outcome(1), b"{}"),
            lambda: refused.info(urls.head),
        ):
            with pytest.raises(failure, match=r"the store answered 40[03] .*refused for \d+ s") as told:
                call()
            assert told.value.failure_class == class_

    def test_of_a_move_of_head_is_waited_out(
        self, store: Store, urls: StageUrls, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claim(store, urls)
        etag = store.get(urls.head).etag
        answers = iter([store_answer(403, "AccessDenied")] * 2)
        proxy.rule = lambda request: next(answers, PASS)
        through(proxy, monkeypatch, refusal="60").replace(urls.head, b"moved", etag)
        assert store.get(urls.head).data == b"moved"


def renew(credentials: Path, key: str) -> None:
    credentials.write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key={SECRET_KEY}\n")
