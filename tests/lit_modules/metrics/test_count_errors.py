import itertools
import math
from copy import deepcopy

import numpy as np
import pytest
import torch

from lit_modules.metrics import CountErrors, CountMAE, CountNAE, CountRMSE, count_heads

SCORES = [CountMAE, CountRMSE, CountNAE]


def filled(metric: type[CountErrors], predicted: list[float], annotated: list[int], batch: int = 2) -> CountErrors:
    made = metric()
    for i in range(0, len(predicted), batch):
        made.update(torch.tensor(predicted[i : i + batch], dtype=torch.float64), torch.tensor(annotated[i : i + batch]))
    return made


def test_scores_follow_their_formulas() -> None:
    predicted, annotated = [12.5, 0.25, 310.0, 7.0, 1500.75], [10, 0, 300, 8, 1600]
    errors = np.array(predicted) - annotated
    heads = np.array(annotated) > 0
    assert filled(CountMAE, predicted, annotated).compute().item() == pytest.approx(np.abs(errors).mean(), rel=1e-15)
    assert filled(CountRMSE, predicted, annotated).compute().item() == pytest.approx(
        np.sqrt((errors**2).mean()), rel=1e-15
    )
    assert filled(CountNAE, predicted, annotated).compute().item() == pytest.approx(
        (np.abs(errors)[heads] / np.array(annotated)[heads]).mean(), rel=1e-15
    )


def test_relative_error_of_images_without_heads_is_no_number() -> None:
    assert math.isnan(filled(CountNAE, [1.0, 2.0], [0, 0]).compute())
    assert filled(CountMAE, [1.0, 2.0], [0, 0]).compute() == 1.5


# Sizes so far apart that a sum in double precision depends on its order.
PREDICTED = [1e9 + 0.1, 0.1, 3e4 + 1 / 3, 1e-7, 0.7, 1e9 + 0.3, 17.13]
ANNOTATED = [7, 3, 30, 1, 0, 11, 1]


def test_the_example_depends_on_order_when_summed_up_plainly() -> None:
    errors = np.abs(np.array(PREDICTED) - ANNOTATED).tolist()
    assert len({sum(order) for order in itertools.permutations(errors)}) > 1


@pytest.mark.parametrize("metric", SCORES)
@pytest.mark.parametrize("first", [1, 3, 6])
def test_sharing_images_out_changes_no_digit(metric: type[CountErrors], first: int) -> None:
    """Two processes have a part each, put together in either order, and joined as one process would have had them."""
    whole = filled(metric, PREDICTED, ANNOTATED).compute()
    one = filled(metric, PREDICTED[:first], ANNOTATED[:first])
    other = filled(metric, PREDICTED[first:], ANNOTATED[first:], batch=1)
    for a, b in ((one, other), (other, one)):
        both = deepcopy(a)
        both.merge_state(b)
        assert both.compute().item() == whole.item()


@pytest.mark.parametrize("metric", SCORES)
def test_order_changes_no_digit(metric: type[CountErrors]) -> None:
    orders = itertools.islice(itertools.permutations(range(len(PREDICTED))), 0, None, 97)
    scores = {
        filled(metric, [PREDICTED[i] for i in order], [ANNOTATED[i] for i in order], batch=3).compute().item()
        for order in orders
    }
    assert len(scores) == 1


@pytest.mark.parametrize("metric", SCORES)
def test_a_process_without_images_adds_nothing(metric: type[CountErrors]) -> None:
    """It hands in an empty state of the same type as the others'."""
    some, none = filled(metric, [4.0], [2]), metric()
    assert none.dtype == some.error[0].dtype == some.annotated[0].dtype
    some.merge_state(none)
    assert some.compute() == filled(metric, [4.0], [2]).compute()


def test_counts_are_summed_in_double_precision() -> None:
    density = torch.full((2, 1, 1000, 1000), 0.1)
    density[1] = 0
    density[1, 0, 0, 0], density[1, 0, 0, 1] = 2**24, 1
    assert count_heads(density).tolist() == [pytest.approx(np.float32(0.1) * 1e6, rel=1e-12), 2**24 + 1]


def test_all_errors_are_kept_by_image() -> None:
    assert filled(CountErrors, [2.5, 1.0, 0.0], [2, 0, 4]).compute() == [(2, 0.5), (0, 1), (4, -4)]


def test_nothing_is_left_after_a_reset() -> None:
    metric = filled(CountMAE, [5.0], [0])
    metric.reset()
    metric.update(torch.tensor([1.0]), torch.tensor([0]))
    assert metric.compute() == 1
