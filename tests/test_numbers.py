"""Numbers that are none, or say nothing: the right distance, or a refusal that names the culprit.

Every way from models to distances is tried: fields in memory, stores, streaming, sketches and the
command line. What single modules refuse is tested with them.
"""

import copy
import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

from modelgif.cli.main import main
from modelgif.distances.distance import ZeroCellWarning, pairwise_distances
from modelgif.fields.gradient_field import gradient_field
from modelgif.loading.checkpoint import write_checkpoint
from modelgif.loading.load import load_model
from modelgif.references.file import write_references
from modelgif.references.references import References
from modelgif.sketches.approximate import Nearby
from modelgif.sketches.file import read_sketch, write_sketch
from modelgif.sketches.index import SketchIndex
from modelgif.sketches.sketch import estimate_distances
from modelgif.sketches.sketcher import sketch_model
from modelgif.storage.field_store import FieldStore
from modelgif.zoo.extract import extract
from modelgif.zoo.stream import stream_distances

NAN, INF = float("nan"), float("inf")
N, S = 5, 4
Zoo = dict[str, nn.Module]


def network(seed: int, n_classes: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, n_classes)
        return nn.Sequential(nn.Flatten(), *layers).eval()


@pytest.fixture
def zoo() -> Zoo:
    return {"good": network(1), "other": network(2)}


@pytest.fixture
def references() -> References:
    images = torch.rand(N, 3, 2, 2, generator=torch.Generator().manual_seed(0)) + 0.1
    return References(images, tuple(f"photo{i}" for i in range(N)))


# Every way from models and references to a matrix of distances.


def by_fields(zoo: Zoo, references: References, _: Path, **options) -> Tensor:
    options = {"n_steps": S} | options
    fields = [gradient_field(model, references.images, **options) for model in zoo.values()]
    return pairwise_distances(fields, names=list(zoo))


def by_stores(zoo: Zoo, references: References, folder: Path, **options) -> Tensor:
    options = {"n_steps": S} | options
    done = extract(zoo, references, folder / "fields", progress=False, **options)
    done.raise_for_failures()
    stores = [FieldStore(path) for path in done.stores.values()]
    try:
        return pairwise_distances(stores, names=list(zoo))
    finally:
        for store in stores:
            store.close()


def by_streaming(zoo: Zoo, references: References, _: Path, **options) -> Tensor:
    options = {"n_steps": S} | options
    return stream_distances(zoo, references, block=2, progress=False, **options).matrix


def by_sketches(zoo: Zoo, references: References, folder: Path, **options) -> Tensor:
    options = {"n_steps": S, "size": 2**16, "number_format": "float32"} | options
    sketches = []
    for name, model in zoo.items():
        path = folder / f"{name}.sketch"
        write_sketch(path, sketch_model(model, references, name=name, block=2, **options))
        sketches.append(read_sketch(path))
    return estimate_distances(sketches)


WAYS: dict[str, Callable[..., Tensor]] = {
    way.__name__: way for way in (by_fields, by_stores, by_streaming, by_sketches)
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def by_hand(zoo: Zoo, images: Tensor, n_steps: int = S, baseline: float = 0.0) -> Tensor:
    """The distances of all pairs in float64, reference by reference and step by step."""
    points, weights = torch.from_numpy(np.array(np.polynomial.legendre.leggauss(n_steps)))
    units = []
    for model in zoo.values():
        model = copy.deepcopy(model).double()
        for image in images.double():
            start, total = torch.full_like(image, baseline), torch.zeros_like(image)
            chosen = model(image[None])[0].argmax()
            for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
                at = (start + point * (image - start)).requires_grad_()
                (gradient,) = torch.autograd.grad(model(at[None])[0, chosen], at)
                total += weight * gradient
                cell = ((image - start) * total).flatten()
                units.append(cell / cell.norm() if cell.any() else cell)
    cells = torch.stack(units).reshape(len(zoo), -1, images[0].numel())
    distances = torch.zeros(len(zoo), len(zoo), dtype=torch.float64)
    for i, j in itertools.permutations(range(len(zoo)), 2):
        cosines = (cells[i] * cells[j]).sum(1)
        alike = ~cells[i].any(1) & ~cells[j].any(1)
        distances[i, j] = (1 - cosines).masked_fill(alike, 0).mean()
    return distances


def close(found: Tensor, expected: Tensor) -> None:
    """Within what a sketch is off by, at the very most, or rounding."""
    torch.testing.assert_close(found, expected, rtol=0, atol=0.03)


# Not a number.


class Spoiled(nn.Module):
    """A good network, spoiled in one way."""

    def __init__(self, spoil: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.spoil = network(3), spoil

    def forward(self, x: Tensor) -> Tensor:
        return self.spoil(self.network(x), x)


def with_weight(value: float, layer: int, part: str) -> nn.Module:
    bad = network(3)
    with torch.no_grad():
        getattr(bad[layer], part).view(-1)[0] = value
    return bad


def saturated(weight: float) -> nn.Module:
    """A network whose first output is some 5.5 times `weight`."""
    large = network(3)
    with torch.no_grad():
        large[1].bias.fill_(2)
        large[3].weight[0] = weight
    return large


def at_photo3(scores: Tensor, x: Tensor, of_x: Callable[[Tensor], Tensor]) -> Tensor:
    """Adds `of_x` of what is zero on the path to the reference photo3, and there alone."""
    mark = x[:, 0, 0, 0] - x[:, 0, 0, 1]
    return scores + of_x(mark)[:, None]


BAD = {
    "NaN weight": (lambda: with_weight(NAN, 1, "weight"), 0),
    "infinite weight": (lambda: with_weight(INF, 3, "weight"), 0),
    "overflowing outputs": (lambda: saturated(3e38), 0),
    "NaN bias before the last layer": (lambda: with_weight(NAN, 1, "bias"), 0),
    "NaN logit and finite gradients": (lambda: with_weight(NAN, 3, "bias"), 0),
    "infinite logit and finite gradients": (lambda: with_weight(INF, 3, "bias"), 0),
    "infinite gradient": (
        lambda: Spoiled(lambda scores, x: at_photo3(scores, x, lambda m: m.abs().sqrt())),
        3,
    ),
    "NaN gradient": (
        lambda: Spoiled(lambda scores, x: at_photo3(scores, x, lambda m: (m * 0).sqrt() * m)),
        0,
    ),
}


@pytest.mark.slow
@each_way
@pytest.mark.parametrize("kind", BAD)
def test_a_model_that_gives_no_numbers_is_named_with_the_reference(
    way, kind: str, zoo: Zoo, references: References, tmp_path: Path
) -> None:
    make, where = BAD[kind]
    references.images[3, 0, 0, 1] = references.images[3, 0, 0, 0]
    with pytest.raises((ValueError, RuntimeError)) as caught:
        way(zoo | {"bad": make()}, references, tmp_path)
    message = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "not finite" in message
    assert f"reference {where}" in message or f"reference photo{where}" in message
    assert "good" not in message
    assert "other" not in message
    assert "bad" in message


def test_half_precision_overflows_only_where_it_is_asked_for(
    zoo: Zoo, references: References, tmp_path: Path
) -> None:
    # Half precision ends at 65 504.
    coarse = {"good": zoo["good"].half(), "large": saturated(6e4).half()}
    expected = by_hand(coarse, references.images)
    for way in WAYS.values():
        close(way(coarse, references, tmp_path), expected)
    for way in (by_fields, by_streaming, by_sketches):
        with pytest.raises((ValueError, RuntimeError), match="not finite .* reference"):
            way(coarse, references, tmp_path, dtype=torch.float16)


@each_way
@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_the_size_of_outputs_does_not_matter(
    way, scale: float, zoo: Zoo, references: References, tmp_path: Path
) -> None:
    expected = by_hand(zoo, references.images)
    with torch.no_grad():
        zoo["other"][3].weight *= scale
        zoo["other"][3].bias *= scale
    close(way(zoo, references, tmp_path), expected)


# Nothing to see.


class Constant(nn.Module):
    """Says the same of everything, but passes a gradient: zero."""

    def forward(self, x: Tensor) -> Tensor:
        return 0 * x.flatten(1)[:, :3] + torch.tensor([1.0, 2.0, 3.0])


@each_way
def test_constant_networks_are_alike_unlike_others_and_counted(
    way, zoo: Zoo, references: References, tmp_path: Path
) -> None:
    constants = {"constant": Constant(), "deaf": Constant()}
    with pytest.warns(ZeroCellWarning, match=rf"field constant: {N * S}, deaf: {N * S}:"):
        found = way({"good": zoo["good"]} | constants, references, tmp_path)
    close(found, torch.tensor([[0, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=torch.float64))


@each_way
def test_dead_references_are_counted_and_at_no_distance(
    way, zoo: Zoo, references: References, tmp_path: Path
) -> None:
    # References that are the baseline itself have no path.
    references.images[1:3] = 0.0
    rest = [0, 3, 4]
    with pytest.warns(ZeroCellWarning, match=rf"field good: {2 * S}, other: {2 * S}:"):
        found = way(zoo, references, tmp_path)
    close(found, by_hand(zoo, references.images))
    close(found, by_hand(zoo, references.images[rest]) * 3 / 5)


@each_way
def test_no_zero_cells_no_warning(way, zoo: Zoo, references: References, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        close(way(zoo, references, tmp_path), by_hand(zoo, references.images))


def test_a_search_tells_of_zero_cells(zoo: Zoo, references: References, tmp_path: Path) -> None:
    sketches = {
        name: sketch_model(model, references, name=name, n_steps=S, size=512)
        for name, model in (zoo | {"constant": Constant()}).items()
    }
    index = SketchIndex(tmp_path)
    index.add(sketches)
    assert SketchIndex(tmp_path).zero_cells == [0, 0, N * S]
    for search in (SketchIndex(tmp_path).search, Nearby(index).search):
        assert search(sketches["good"], 1).names == ["good"]  # and no warning
        with pytest.warns(ZeroCellWarning, match=rf"zero cells in field constant: {N * S}:"):
            assert set(search(sketches["good"], 3).names) == set(sketches)
        with pytest.warns(ZeroCellWarning, match="constant"):
            assert search(sketches["constant"], 1).names == ["constant"]


# As little as possible.


@each_way
def test_one_reference_one_step_and_one_sample_at_a_time(
    way, zoo: Zoo, references: References, tmp_path: Path
) -> None:
    one = References(references.images[:1], ("alone",))
    found = way(zoo, one, tmp_path, n_steps=1, chunk_size=1)
    close(found, by_hand(zoo, one.images, n_steps=1))


@each_way
def test_one_class(way, references: References, tmp_path: Path) -> None:
    zoo = {"good": network(1, n_classes=1), "other": network(2, n_classes=1)}
    close(way(zoo, references, tmp_path), by_hand(zoo, references.images))


@each_way
def test_duplicated_references_count_twice(
    way, zoo: Zoo, references: References, tmp_path: Path
) -> None:
    images = references.images[[0, 1, 1, 1]]
    found = way(zoo, References(images, ("a", "b", "c", "d")), tmp_path)
    once = [by_hand(zoo, image[None]) for image in references.images[:2]]
    close(found, (once[0] + 3 * once[1]) / 4)


# Of another size.


@pytest.mark.parametrize("way", [by_stores, by_streaming, by_sketches])
def test_a_model_for_other_references_is_named(
    way, zoo: Zoo, references: References, tmp_path: Path
) -> None:
    small = nn.Sequential(nn.Flatten(), nn.Linear(27, 3))
    with pytest.raises((ValueError, RuntimeError), match=r"x12 and 27x3") as caught:
        way(zoo | {"small": small}, references, tmp_path)
    message = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "small" in message
    assert "good" not in message


# The verdict of the command line.

NETWORK = "python:modelgif.experiment.networks:convnet?in_channels=3&num_classes={}&width=2"


def checkpoint(folder: Path, name: str, seed: int, n_classes: int = 3, **spoil: float) -> str:
    address = NETWORK.format(n_classes)
    state = load_model(f"{address}&seed={seed}").network.state_dict()
    for part, value in spoil.items():
        (entry,) = [key for key in list(state)[-2:] if key.endswith(part)]
        state[entry] = torch.full_like(state[entry], value)
    write_checkpoint(folder / f"{name}.safetensors", state, {"architecture": address})
    return str(folder / f"{name}.safetensors")


@pytest.fixture
def photos(tmp_path: Path) -> str:
    images = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "photos.safetensors"
    write_references(path, References(images, tuple(f"photo{i}" for i in range(16))))
    return str(path)


def verdict(photos: str, victim: str, suspect: str, independents: list[str]) -> Result:
    arguments = ["verdict", "--victim", victim, "--suspect", suspect, "--references", photos]
    honest = [part for path in independents for part in ("--independent", path)]
    return CliRunner().invoke(main, [*arguments, *honest, "--steps", "2", "--json"])


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_the_verdict_names_a_model_that_gives_no_numbers(
    value: float, part: str, photos: str, tmp_path: Path
) -> None:
    good = checkpoint(tmp_path, "good", 1)
    bad = checkpoint(tmp_path, "bad", 2, **{part: value})
    done = verdict(photos, good, bad, [good])
    assert done.exit_code == 4, done.output
    told = json.loads(done.stdout)
    (note,) = [note for note in told["notes"] if "not finite (NaN or infinity)" in note]
    assert note.startswith("2-bad: ")
    assert told["verdicts"][0]["verdict"] == "undecided"
    assert told["verdicts"][0]["field distance"] is None


@pytest.mark.parametrize(
    ("n_classes", "message"),
    [
        (1, "dead: has no gradient field: ValueError: class_contrast needs scores of classes"),
        (3, "dead: gives the same answer at every reference"),
    ],
)
def test_the_verdict_does_without_a_field_that_says_nothing(
    n_classes: int, message: str, photos: str, tmp_path: Path
) -> None:
    victim = checkpoint(tmp_path, "victim", 1, n_classes)
    dead = checkpoint(tmp_path, "dead", 2, n_classes, weight=0.0)
    honest = [checkpoint(tmp_path, f"honest{i}", i, n_classes) for i in range(3, 7)]
    done = verdict(photos, victim, dead, honest)
    assert done.exit_code == 4, done.output
    told = json.loads(done.stdout)
    assert len([note for note in told["notes"] if note.startswith(message)]) == 1
    assert "dead: Without field, which cannot describe the suspect." in str(told["notes"])
    assert told["verdicts"][0]["field distance"] is None
    assert told["verdicts"][0]["p-value"] == 1
    assert told["verdicts"][0]["verdict"] == "undecided"
