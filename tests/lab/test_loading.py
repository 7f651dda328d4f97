"""Nothing is collected while a program loads, and everything as before afterwards."""

from __future__ import annotations

import gc

import pytest

from ayllu.lab.loading import loading


def test_the_collector_rests_within_and_works_afterwards() -> None:
    with loading():
        assert not gc.isenabled()
        with loading():
            assert not gc.isenabled()
        assert not gc.isenabled()  # the inner block has not ended the outer one
    assert gc.isenabled()


def test_it_works_again_though_loading_failed() -> None:
    with pytest.raises(ImportError), loading():
        raise ImportError("no such thing")
    assert gc.isenabled()


def test_one_who_has_turned_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
