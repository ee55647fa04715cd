import pytest
import torch
from torch import Tensor

from modelgif.fields.target import Target, resolve_target, selected_sum

ALL = slice(0, 3)


@pytest.fixture
def flat() -> Tensor:
    return torch.randn(3, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def dense() -> Tensor:
    return torch.randn(3, 4, 2, 5, generator=torch.Generator().manual_seed(1))


def objective(target: object, output: Tensor) -> Tensor:
    """The objective that a target takes at the output at which it is frozen."""
    resolved = resolve_target(target)  # type: ignore[arg-type]
    if resolved.value is not None:
        return resolved.value(output)
    assert resolved.positions is not None
    return selected_sum(output, resolved.positions(output, slice(0, len(output))))


FLAT = {
    "predicted_class": lambda y: y.amax(1),
    "output_sum": lambda y: y.sum(1),
    "channel_peaks": lambda y: y.sum(1),
    "position_max": lambda y: y.amax(1),
    "global_peak": lambda y: y.amax(1),
}
DENSE = {
    "output_sum": lambda y: y.sum((1, 2, 3)),
    "channel_peaks": lambda y: y.amax((2, 3)).sum(1),
    "channel_peaks:1": lambda y: y.amax((2, 3)).sum(1),
    "channel_peaks:3": lambda y: y.flatten(2).sort(2, descending=True)[0][..., :3].sum((1, 2)),
    "position_max": lambda y: y.amax(1).sum((1, 2)),
    "global_peak": lambda y: y.amax((1, 2, 3)),
}


@pytest.mark.parametrize("name", FLAT)
def test_named_targets_of_class_scores(name: str, flat: Tensor) -> None:
    torch.testing.assert_close(objective(name, flat), FLAT[name](flat))


@pytest.mark.parametrize("name", DENSE)
def test_named_targets_of_dense_outputs(name: str, dense: Tensor) -> None:
    torch.testing.assert_close(objective(name, dense), DENSE[name](dense))


def test_labels_of_classes_and_of_positions(flat: Tensor, dense: Tensor) -> None:
    labels = torch.tensor([4, 0, 2])
    assert objective(labels, flat).tolist() == [flat[i, c].item() for i, c in enumerate(labels)]
    each = torch.randint(4, (3, 2, 5), generator=torch.Generator().manual_seed(2))
    expected = dense.gather(1, each[:, None]).sum((1, 2, 3))
    torch.testing.assert_close(objective(each, dense), expected)


def test_labels_are_taken_at_the_rows_asked_for(flat: Tensor) -> None:
    positions = resolve_target(torch.tensor([4, 0, 2], dtype=torch.uint8)).positions
    assert positions is not None
    assert positions(flat[1:], slice(1, 3)).tolist() == [[0], [2]]


@pytest.mark.parametrize("name", ["predicted_class", "channel_peaks:2", "global_peak"])
def test_frozen_positions_do_not_follow_later_outputs(name: str, flat: Tensor) -> None:
    output = flat if name == "predicted_class" else flat[:, :, None, None].expand(-1, -1, 2, 2)
    positions = resolve_target(name).positions
    assert positions is not None
    frozen = positions(output, ALL)
    torch.testing.assert_close(selected_sum(-output, frozen), -objective(name, output))


def test_what_a_store_records_tells_targets_apart() -> None:
    labels = [torch.tensor([0, 1]), torch.tensor([1, 0])]
    names = [resolve_target(t).name for t in ("output_sum", "channel_peaks", "channel_peaks:2")]
    assert names == ["output_sum", "channel_peaks:1", "channel_peaks:2"]
    first, second = (resolve_target(t).name for t in labels)
    assert first != second
    assert first == resolve_target(labels[0].int()).name
    assert resolve_target(_margin).name == f"callable:{__name__}._margin"


def test_labels_of_other_shapes_have_other_names() -> None:
    labels = torch.arange(8) % 2
    assert resolve_target(labels.reshape(2, 2, 2)).name != resolve_target(labels).name


def _margin(output: Tensor) -> Tensor:
    return output[:, 0] - output[:, 1]


class _Margin:
    def __call__(self, output: Tensor) -> Tensor:
        return _margin(output)


@pytest.mark.parametrize("target", [_margin, _Margin()])
def test_callables_and_targets_pass_through(target, flat: Tensor) -> None:
    torch.testing.assert_close(objective(target, flat), flat[:, 0] - flat[:, 1])
    resolved = resolve_target(target)
    assert resolve_target(resolved) is resolved
    assert isinstance(resolved, Target)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("predicted_clas", ValueError, r"got 'predicted_clas'\. Did you mean 'predicted_class'\?"),
        ("xyzzy", ValueError, r"must be one of predicted_class, .*channel_peaks, got 'xyzzy'\.$"),
        ("channel_peaks:0", ValueError, "whole number K of at least 1, got 'channel_peaks:0'"),
        ("channel_peaks:two", ValueError, "whole number K of at least 1"),
        ("channel_peak:2", ValueError, "Did you mean 'channel_peaks'"),
        ("output_sum:2", ValueError, "got 'output_sum:2'. Did you mean 'output_sum'"),
        (
            torch.tensor([0.0, 1.0]),
            TypeError,
            "labels must be whole numbers, got dtype torch.float",
        ),
        (torch.tensor([True]), TypeError, "labels must be whole numbers, got dtype torch.bool"),
        (3, TypeError, "a name, a tensor of labels or a callable, got int"),
        (None, TypeError, "got NoneType"),
    ],
)
def test_refused_targets(target, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        resolve_target(target)


@pytest.mark.parametrize(
    ("target", "shape", "message"),
    [
        ("predicted_class", (3, 4, 2, 5), r"one score per class, \[B, C\], got \[3, 4, 2, 5\]"),
        ("position_max", (3, 4, 5), r"position_max needs .* got \[3, 4, 5\]; pass a callable"),
        ("channel_peaks", (3, 4, 5), "channel_peaks needs outputs"),
        ("channel_peaks:2", (3, 4), "needs at least 2 positions in a channel, .* has 1"),
        (torch.tensor([0, 1, 2]), (3, 4, 5), "a tensor of labels needs outputs"),
        (torch.tensor([0, 1, 2]), (3, 4, 2, 5), "one label per reference and position"),
        (torch.tensor([0, 1]), (3, 4), r"labels of shape \[2\] do not fit outputs \[N, 4\]"),
        (torch.tensor([[0], [1], [2]]), (3, 4), r"expected one label per reference\."),
        (torch.tensor([0, 1, 4]), (3, 4), r"lie in 0\.\.3 \(the model has 4 .*got 0\.\.4"),
        (torch.tensor([0, -1, 3]), (3, 4), r"got -1\.\.3"),
    ],
)
def test_outputs_that_do_not_fit(target, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        objective(target, torch.zeros(shape))
