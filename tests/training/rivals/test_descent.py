"""Adam on batches cut into pieces: the gradient of the whole batch, whatever the threads."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.fit import DivergedError
from training.rivals.descent import Descent, Schedule

SCHEDULE = Schedule(samples=100, batch=32, epochs=4, learning_rate=0.1, warmup_steps=5)


def drawn() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(32, 6, generator=draw)
    return x, x @ torch.randn(6, generator=draw)


def squares(weights: Tensor) -> Callable[[slice], Tensor]:
    x, y = drawn()
    return lambda part: (x[part] @ weights - y[part]).square().sum()


def descended(steps: int, piece: int, threads: int = 1) -> Tensor:
    torch.set_num_threads(threads)
    weights = nn.Parameter(torch.zeros(6))
    descent = Descent([weights], SCHEDULE, piece)
    for _ in range(steps):
        descent.step(squares(weights), 32)
    return weights.detach()


def test_pieces_add_up_to_the_whole_batch() -> None:
    weights = nn.Parameter(torch.zeros(6))
    loss = Descent([weights], SCHEDULE, piece=5).step(squares(weights), 32)
    x, y = drawn()
    assert loss == pytest.approx(float(y.square().mean()), rel=1e-6)
    assert weights.grad is not None
    torch.testing.assert_close(weights.grad, -2 * x.T @ y / 32, rtol=1e-5, atol=1e-6)


def test_it_takes_adams_steps_at_the_schedules_rate() -> None:
    weights = nn.Parameter(torch.zeros(6))
    adam = torch.optim.Adam([weights], lr=1.0)
    for step in range(10):
        for group in adam.param_groups:
            group["lr"] = SCHEDULE.rate(step)
        adam.zero_grad()
        (squares(weights)(slice(None)) / 32).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        adam.step()
    torch.testing.assert_close(descended(10, piece=7), weights.detach(), rtol=1e-4, atol=1e-5)


def test_threads_do_not_change_a_bit() -> None:
    assert torch.equal(descended(8, piece=4), descended(8, piece=4, threads=2))


def test_the_rate_rises_and_falls_to_zero() -> None:
    assert SCHEDULE.steps == 12
    rates = [SCHEDULE.rate(step) for step in range(13)]
    assert rates[0] == pytest.approx(0.02) and rates[12] == 0
    assert rates[4] == max(rates) == pytest.approx(0.1 * 8 / 12)


def test_an_epoch_shows_each_sample_at_most_once_in_its_own_order() -> None:
    first, again, other = (np.concatenate(list(SCHEDULE.batches(epoch, 3))) for epoch in (0, 0, 1))
    assert len(first) == 96 == len(set(first)) and set(first) <= set(range(100))
    assert (first == again).all() and (first != other).any()
    assert (first != np.concatenate(list(SCHEDULE.batches(0, 4)))).any()


def test_a_loss_that_left_the_numbers_is_an_error() -> None:
    weights = nn.Parameter(torch.ones(1))
    with pytest.raises(DivergedError, match="lower the learning rate"):
        Descent([weights], SCHEDULE, piece=2).step(lambda part: weights.sum() * float("inf"), 4)
