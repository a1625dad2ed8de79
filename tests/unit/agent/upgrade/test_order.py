"""Orders that are not what the root half writes."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.configuration.change_orders import UnreadableOrder, parse_order
from agent.packages import run as packages
from agent.packages.machine import wanted_versions
from agent.settings import Settings
from agent.upgrade import run as upgrade
from agent.upgrade.order import Files, Order, signed_manifest

FORTH = {
    "release": "0.2.0-abc",
    "back": False,
    "manifest_sha256": "ab" * 32,
    "signature": "c2lnbg==",
    "certificate": "ZGVy",
    "packages": {"postfix": ["3.7.11-0+deb12u1"]},
    "patience_seconds": 180.0,
    "soak_seconds": 20.0,
}
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def order_in(folder: Path, content: bytes) -> None:
    (folder / "order.json").write_bytes(content)


@given(content=st.binary(max_size=60) | st.builds(lambda value: json.dumps(value).encode(), _ANYTHING))
def test_whatever_stands_there_is_an_order_or_none_that_can_be_read(content: bytes) -> None:
    try:
        order = parse_order(content)
    except UnreadableOrder:
        return
    assert isinstance(order["release"], str)
    assert "/" not in order["release"]
    assert isinstance(order["back"], bool)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("orders")


@given(cut=st.integers(0, len(json.dumps(FORTH)) - 1))
def test_an_order_that_is_cut_off_anywhere_cannot_be_read(folder: Path, cut: int) -> None:
    order_in(folder, json.dumps(FORTH).encode()[:cut])
    for wanted_of in (signed_manifest, wanted_versions):
        with pytest.raises(UnreadableOrder):
            Files[object](folder, wanted_of).order()


@given(name=st.sampled_from(sorted(FORTH)), value=_ANYTHING)
def test_an_order_with_another_value_in_it_is_read_as_an_order_or_not_at_all(
    folder: Path, name: str, value: object
) -> None:
    order_in(folder, json.dumps({**FORTH, name: value}).encode())
    for wanted_of in (signed_manifest, wanted_versions):
        try:
            order = Files[object](folder, wanted_of).order()
        except UnreadableOrder:
            continue
        assert isinstance(order, Order)
        assert 0 <= order.patience.link < float("inf")


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b'"order"', b"\xff\xfe", b"9" * 10_000, b"null"])
def test_what_is_no_order_says_so(folder: Path, content: bytes) -> None:
    order_in(folder, content)
    with pytest.raises(UnreadableOrder):
        Files(folder, signed_manifest).order()


@pytest.mark.parametrize("program", [packages, upgrade])
def test_a_unit_whose_order_cannot_be_read_ends_well_and_is_not_started_for_it_again(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(Settings(), upgrade_dir=tmp_path, packages_dir=tmp_path)
    monkeypatch.setattr(program, "Settings", lambda: settings)
    monkeypatch.setattr(program, "start_own_log", lambda _: None)
    order_in(tmp_path, b"")
    assert program.main() == 0
    assert list(tmp_path.iterdir()) == []
