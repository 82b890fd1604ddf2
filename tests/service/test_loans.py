"""Rows that are lent stay as they are while anything refers to them; then their memory is used again."""

import ctypes

import numpy as np
import pytest

from service import loans
from service.loans import Float32Array, Loans, lasting


def address(rows: Float32Array) -> int:
    return int(rows.__array_interface__["data"][0])


def fill(rows: Float32Array, value: float) -> None:
    """What a run does: it has the address, and numpy's flags do not concern it."""
    (ctypes.c_float * rows.size).from_address(address(rows))[:] = [value] * rows.size


@pytest.mark.parametrize("part", ["all", "row", "view", "memory"])
def test_nobody_else_gets_what_is_referred_to(part: str) -> None:
    lender = Loans((5,))
    rows = lender.lend(3)
    fill(rows, 1.0)
    kept = {"all": rows, "row": rows[1], "view": rows[1:, ::2].T, "memory": rows[2:].data}[part]
    del rows
    for value in (2.0, 3.0, 4.0):
        fill(lender.lend(3), value)
    assert np.all(np.asarray(kept) == 1.0)


def test_memory_is_used_again_when_the_last_reference_is_gone() -> None:
    lender = Loans((5,))
    rows = lender.lend(3)
    where = address(rows)
    row = rows[2]
    del rows
    assert address(lender.lend(3)) != where
    del row
    assert address(lender.lend(3)) == where
    assert address(lender.lend(2)) == where


def test_the_interpreter_warming_up_changes_nothing() -> None:
    lender = Loans((5,))
    assert len({address(lender.lend(3)) for _ in range(5000)}) == 1
    for number in range(5000):
        rows = lender.lend(3)
        fill(rows, -1.0)
        row = rows[1]
        del rows
        fill(lender.lend(3), float(number))
        assert np.all(row == -1.0)


def test_more_rows_than_before_get_more_room() -> None:
    lender = Loans((2, 3))
    assert lender.lend(1).shape == (1, 2, 3)
    rows = lender.lend(7)
    fill(rows, 1.0)
    assert rows.shape == (7, 2, 3) and np.all(rows == 1.0)
    assert len(lender._lent) == 1


def test_when_all_are_out_the_rows_are_writable_and_copied() -> None:
    lender = Loans((5,))
    out = [lender.lend(2) for _ in range(loans._MOST)]
    assert len({address(rows) for rows in out}) == loans._MOST
    for number, rows in enumerate(out):
        assert lasting(rows) is rows
        with pytest.raises(ValueError, match="read-only"):
            rows[0] = 0
        fill(rows, number)
    scratch = lender.lend(4)
    scratch[:] = 9.0
    mine = lasting(scratch[1:2])
    lender.lend(4)[:] = 8.0
    assert np.all(mine == 9.0)
    for number, rows in enumerate(out):
        assert np.all(rows == number)
    del rows, out[0]
    assert not lender.lend(4).flags.writeable
