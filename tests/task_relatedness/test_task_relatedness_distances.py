"""How encoders are compared: references, fields, rivals, and the stage that writes distances."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
import torch
from captum.attr import IntegratedGradients
from pydantic import ValidationError

from modelgif.distances.distance import ZeroCellWarning
from modelgif.experiment.run import open_run
from modelgif.fields.field_settings import FieldSettings
from modelgif.fields.gradient_field import gradient_field
from modelgif.loading.checkpoint import write_checkpoint
from modelgif.methods import attribution, dds, depara
from modelgif.references.adversarial import feature_attack
from modelgif.storage.tensor_file import SealedFileError
from modelgif.zoo.recipe import Recipe
from modelgif.zoo.stream import stream_distances
from task_relatedness import extract_fields as stage
from task_relatedness.comparing import pairwise as compare
from task_relatedness.comparing import references as reference_module
from task_relatedness.comparing.distance_files import (
    Distances,
    distances_path,
    method_names,
    read_distances,
    read_distances_file,
    write_distances_file,
)
from task_relatedness.comparing.pairwise import compare_fields
from task_relatedness.comparing.references import references, references_path, starts
from task_relatedness.config import (
    MeasureConfig,
    RoomsConfig,
    TaskRelatednessConfig,
    TrainingConfig,
    ZooConfig,
)
from task_relatedness.extract_fields import extract_fields
from task_relatedness.learning.taskonomy_networks import Encoder
from task_relatedness.method_name import MethodName
from task_relatedness.methods import RIVALS, WHOLES, whole_distances
from task_relatedness.zoo import encoder_path, load_encoder
from tests.support.blob_rooms import blob_rooms

TASKS = ("autoencoding", "edge_texture", "normal")
N, S, WIDTH = 5, 3, 4
ROOMS = RoomsConfig(size=32, samples=1, n_train=4, n_transfer=2, n_test=3, n_references=N)
ONCE = TrainingConfig(epochs=1, learning_rate=0.01)
MEASURE = MeasureConfig(
    references=("plain", "cutmix", "adversarial"),
    targets=("channel_peaks", "output_sum"),
    baselines=("zero", "reference"),
    n_steps=S,
    rivals=RIVALS,
)


def network(seed):
    """An encoder with statistics as after a training; with those of no training it sees little."""
    torch.manual_seed(seed)
    encoder = Encoder(WIDTH).train()
    with torch.no_grad():
        for _ in range(30):
            encoder(2 * torch.rand(8, 3, 32, 32) - 1)
    return encoder.eval()


def write_encoder(run, task, encoder):
    address = f"python:task_relatedness.learning.taskonomy_networks:encoder?width={WIDTH}"
    card = {"architecture": address, "preprocessing": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    write_checkpoint(encoder_path(run, task), encoder, card)


def opened(root, **measure):
    config = TaskRelatednessConfig(
        device="cpu",
        tasks=TASKS,
        rooms=ROOMS,
        zoo=ZooConfig(width=WIDTH, training=ONCE, transfer=ONCE),
        measure=MEASURE.model_copy(update=measure),
    )
    run = open_run(config, testbed="task_relatedness", name="blobs", root=root)
    for seed, task in enumerate(TASKS):
        write_encoder(run, task, network(seed))
    return run


@pytest.fixture(scope="module")
def patched():
    """Blobs in place of rooms, in this process, in pieces of two references."""
    with pytest.MonkeyPatch.context() as patch:
        rooms = lambda config, *_, **__: blob_rooms(config.count)  # noqa: E731
        patch.setattr(reference_module, "load_rooms", rooms)
        patch.setattr(stage, "workers_on", lambda device: 1)
        patch.setattr(stage, "_PIECE", 2)
        yield


@pytest.fixture(scope="module")
def made(patched, tmp_path_factory):
    run = opened(tmp_path_factory.mktemp("runs"))
    extract_fields(run)
    return run


def models_of(run):
    return [load_encoder(run, task) for task in TASKS]


def cosine_distances(cells):
    """All pairs at every reference ``[M, M, N]`` of ``[M, N, S, D]``, one at a time in float64."""
    cells = np.asarray(cells, dtype=np.float64)
    found = np.zeros((len(cells), len(cells), cells.shape[1]))
    for i, j, n in np.ndindex(*found.shape):
        steps = [
            1 - a @ b / np.sqrt((a @ a) * (b @ b))
            for a, b in zip(cells[i, n], cells[j, n], strict=True)
        ]
        found[i, j, n] = np.mean(steps)
    return found


# Names.


def test_every_combination_has_a_name_and_modelgif_s_are_first():
    names = [str(name) for name in method_names(MEASURE)]
    assert len(set(names)) == len(names)
    assert names[:2] == [
        "modelgif[plain,channel_peaks,zero]",
        "modelgif[plain,channel_peaks,reference]",
    ]
    # References, targets and baselines; maps without a baseline, and methods without a target.
    assert len(names) == 3 * 12 + 6 + 3 * len(WHOLES)
    assert "saliency[cutmix,output_sum]" in names
    assert "gradient_input[cutmix,output_sum,zero]" in names
    assert "depara[adversarial]" in names
    assert [str(MethodName.parse(name)) for name in names] == names
    assert MethodName.parse("rsa[plain]") == MethodName("rsa", "plain")


@pytest.mark.parametrize(
    "text", ["rsa", "rsa[]", "[plain]", "rsa[a,b,c,d]", "rsa[a][b]", "rsa[a]x"]
)
def test_other_texts_are_no_names(text):
    with pytest.raises(ValueError, match="expected METHOD"):
        MethodName.parse(text)


def test_configurations_that_cannot_be_measured_are_refused():
    with pytest.raises(ValidationError, match="unknown: akh; known: integrated_gradients"):
        MeasureConfig(rivals=("akh",))
    with pytest.raises(ValidationError, match="Did you mean 'channel_peaks'"):
        MeasureConfig(targets=("chanel_peaks",))
    zoo = ZooConfig(training=ONCE, transfer=ONCE)
    measure = MeasureConfig(references=("adversarial",), adversary="curvature")
    with pytest.raises(ValidationError, match="adversary must be one of the tasks, got curvature"):
        TaskRelatednessConfig(tasks=TASKS, rooms=ROOMS, zoo=zoo, measure=measure)


# References.


@pytest.mark.slow
def test_references_are_the_last_rooms_and_what_is_made_of_them(made):
    plain, mixed, moved = (references(made, k) for k in ("plain", "cutmix", "adversarial"))
    first = ROOMS.count - N
    assert plain.ids == mixed.ids == moved.ids == tuple(f"room/{first + i}" for i in range(N))
    assert torch.equal(plain.images, blob_rooms(ROOMS.count).images[first:])
    # Each pixel of a mixed one is that of the room or of another.
    from_any = (mixed.images[:, None] == plain.images[None]).all(2).any(1)
    assert from_any.all()
    assert not torch.equal(mixed.images, plain.images)


@pytest.mark.slow
def test_adversarial_references_move_and_are_seen_differently(made):
    plain, moved = references(made, "plain").images, references(made, "adversarial").images
    epsilon = made.config.measure.perturbation.epsilon
    distance = (moved - plain).abs()
    assert distance.max() <= epsilon + 1e-6
    assert (distance.flatten(1).mean(1) > epsilon / 3).all()
    assert moved.min() >= 0
    assert moved.max() <= 1
    model = load_encoder(made, made.config.measure.adversary)
    noise = epsilon * torch.randn(plain.shape, generator=torch.Generator().manual_seed(0)).sign()
    with torch.no_grad():
        clean, seen, noisy = map(model, (plain, moved, (plain + noise).clamp(0, 1)))
    change, by_noise = ((y - clean).flatten(1).norm(dim=1) for y in (seen, noisy))
    assert (change > 2 * by_noise).all()
    assert (change > 0.2 * clean.flatten(1).norm(dim=1)).all()


def test_from_the_clean_image_an_attack_never_starts():
    """Why the start is random: the gradient there is exactly zero."""
    model, image = network(0), torch.rand(2, 3, 32, 32).requires_grad_()
    with torch.no_grad():
        clean = model(image)
    (model(image) - clean).square().sum().backward()
    assert not image.grad.any()


@pytest.mark.slow
def test_an_attack_is_repeatable_in_any_chunks_and_leaves_the_model(made):
    model, images = network(3).train(), references(made, "plain").images
    settings = {"epsilon": 0.1, "step_size": 0.03, "n_steps": 3}
    found = [
        feature_attack(model, images, **settings, generator=generator(seed), chunk_size=size)
        for seed, size in ((1, 64), (1, 2), (2, 64))
    ]
    torch.testing.assert_close(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert model.training
    assert all(weights.requires_grad and weights.grad is None for weights in model.parameters())
    for options, message in (
        ({"epsilon": 0.0}, "epsilon in"),
        ({"n_steps": 0}, "at least one step"),
        ({"images": 2 * images}, "pixels in"),
    ):
        with pytest.raises(ValueError, match=message):
            feature_attack(
                model, **({"images": images} | settings | options), generator=generator(0)
            )


def generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.slow
def test_paths_begin_at_the_mean_image_or_at_another_reference(made):
    assert starts(made, "plain", "zero") == 0.5
    plain, begun = references(made, "plain").images, starts(made, "plain", "reference")
    same = (begun[:, None] == plain[None]).flatten(2).all(2)
    assert (same.sum(0) == 1).all()
    assert (same.sum(1) == 1).all()
    assert not same.diagonal().any()


# Distances.


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["zero", "reference"])
@pytest.mark.parametrize("average", [False, True])
def test_modelgif_is_the_mean_distance_of_fields(made, baseline, average):
    points = references(made, "plain")
    start = starts(made, "plain", baseline)
    recipe = Recipe(points, FieldSettings(target="channel_peaks", baseline=start, n_steps=S))
    models = dict(zip(TASKS, models_of(made), strict=True))
    whole, last = compare_fields(models, recipe, slice(0, N), average_channels=average)
    fields = torch.stack(
        [
            gradient_field(model, points.images, target="channel_peaks", baseline=start, n_steps=S)
            for model in models.values()
        ]
    ).double()
    cells = fields.numpy().mean(3) if average else fields.numpy()
    expected = cosine_distances(cells.reshape(len(TASKS), N, S, -1))
    np.testing.assert_allclose(whole.per_reference, expected, rtol=0, atol=2e-6)
    ends = cosine_distances(fields.numpy()[:, :, -1:].reshape(len(TASKS), N, 1, -1))
    np.testing.assert_allclose(last.per_reference, ends, rtol=0, atol=2e-6)
    if not average:
        found = read_distances(made)
        name = f"[plain,channel_peaks,{baseline}]"
        for method, values in (("modelgif", expected), ("integrated_gradients", ends)):
            distances = found[method + name]
            np.testing.assert_allclose(distances.per_reference, values, rtol=0, atol=2e-6)
            np.testing.assert_allclose(distances.matrix, distances.per_reference.mean(2))
            assert not distances.zero_cells.any()
            assert distances.matrix[np.triu_indices(3, 1)].min() > 0.05
        assert np.abs(expected - ends).max() > 1e-3


@pytest.mark.slow
def test_pieces_and_blocks_make_no_difference_but_rounding(made, monkeypatch):
    points, models = references(made, "plain"), models_of(made)
    monkeypatch.setattr(compare, "_BLOCK_NUMBERS", 1)
    recipe = Recipe(points, FieldSettings(target="output_sum", baseline=0.5, n_steps=S))
    found, _ = compare_fields(dict(zip(TASKS, models, strict=True)), recipe, slice(1, 4))
    whole = stream_distances(
        dict(zip(TASKS, models, strict=True)),
        points,
        target="output_sum",
        baseline=0.5,
        n_steps=S,
        keep_pairs=True,
        progress=False,
    ).pairs_per_reference
    torch.testing.assert_close(found.per_reference, whole[:, :, 1:4], rtol=0, atol=1e-6)
    written = read_distances(made)["modelgif[plain,output_sum,zero]"].per_reference
    np.testing.assert_allclose(written, whole, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_last_step_is_captum_s_integrated_gradient(made):
    """With the peaks of the representation at the reference frozen along the path."""
    # No plain walls, where rounding decides which of equal pixels is the largest of a pool.
    images = torch.rand(4, 3, 32, 32, generator=generator(0), dtype=torch.float64)
    model = load_encoder(made, "normal").double()
    with torch.no_grad():
        features = model(images).flatten(2)
    peaks = features.argmax(2, keepdim=True)

    def at_peaks(points, positions):
        return model(points).flatten(2).gather(2, positions).sum((1, 2))

    expected = IntegratedGradients(at_peaks).attribute(
        images,
        baselines=torch.full_like(images, 0.5),
        n_steps=20,
        method="gausslegendre",
        additional_forward_args=(peaks,),
        internal_batch_size=32,
    )
    found = gradient_field(model, images, target="channel_peaks", baseline=0.5, n_steps=20)[:, -1]
    # captum rounds the rule's weights to float32.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * found.abs().max().item())
    assert found.abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "adversarial"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("saliency[{},channel_peaks]", {"kind": "saliency"}),
        ("gradient_input[{},channel_peaks,zero]", {"kind": "gradient_times_input"}),
        (
            "gradient_input[{},output_sum,zero]",
            {"kind": "gradient_times_input", "target": "output_sum"},
        ),
        ("integrated_gradients[{},channel_peaks,zero]", {"kind": "integrated_gradients"}),
    ],
)
def test_maps_are_compared_as_their_method_says(made, kind, name, options):
    images = references(made, kind).images
    settings = {"target": "channel_peaks", "baseline": 0.5, "n_steps": S} | options
    maps = [attribution.describe(model, images, **settings) for model in models_of(made)]
    found = read_distances(made)[name.format(kind)]
    for i, a in enumerate(maps):
        for j, b in enumerate(maps):
            expected = attribution.per_reference(a, b) if i != j else torch.zeros(N)
            np.testing.assert_allclose(found.per_reference[i, j], expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_gradient_times_input_starts_at_its_baseline(made):
    images, begun = references(made, "plain").images, starts(made, "plain", "reference")
    settings = {"kind": "gradient_times_input", "target": "channel_peaks", "baseline": begun}
    a, b, _ = (attribution.describe(model, images, **settings) for model in models_of(made))
    found = read_distances(made)["gradient_input[plain,channel_peaks,reference]"].per_reference
    np.testing.assert_allclose(found[0, 1], attribution.per_reference(a, b), rtol=0, atol=1e-6)


def features_of(run, kind="plain"):
    with torch.no_grad():
        images = references(run, kind).images
        return [model(images).flatten(1).double().numpy() for model in models_of(run)]


def pairs(values, distance):
    return np.array([[distance(a, b) if a is not b else 0.0 for b in values] for a in values])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "cutmix"])
def test_rsa_orders_pairs_of_references(made, kind):
    upper = np.triu_indices(N, 1)
    ranked = [1 - np.corrcoef(rows)[upper] for rows in features_of(made, kind)]
    expected = pairs(ranked, lambda a, b: 1 - scipy.stats.spearmanr(a, b).statistic)
    found = read_distances(made)[f"rsa[{kind}]"]
    assert found.per_reference is None
    np.testing.assert_allclose(found.matrix, expected, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_cka_aligns_features(made):
    rows = [f - f.mean(0) for f in features_of(made)]

    def distance(a, b):
        cross = np.square(a.T @ b).sum()
        return 1 - cross / np.sqrt(np.square(a.T @ a).sum() * np.square(b.T @ b).sum())

    found = read_distances(made)["cka[plain]"].matrix
    np.testing.assert_allclose(found, pairs(rows, distance), rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "similarity"),
    [
        ("dds_cosine", "cosine"),
        ("dds_pearson", "pearson"),
        ("dds_laplacian", "laplacian"),
        ("cka_standardised", "linear"),
    ],
)
def test_dds_standardises_features(made, name, similarity):
    images = references(made, "plain").images
    described = [dds.describe(m, images, similarity=similarity) for m in models_of(made)]
    found = read_distances(made)[f"{name}[plain]"].matrix
    np.testing.assert_allclose(found, pairs(described, dds.compare), rtol=0, atol=1e-12)
    others = {n: read_distances(made)[f"{n}[plain]"].matrix for n in WHOLES if n != name}
    assert all(np.abs(found - other).max() > 1e-6 for other in others.values())


@pytest.mark.slow
def test_depara_multiplies_by_the_input_as_the_network_sees_it(made):
    images = 2 * references(made, "plain").images - 1
    described = [depara.describe(model.network, images) for model in models_of(made)]
    expected = pairs(described, depara.compare)
    np.testing.assert_allclose(
        read_distances(made)["depara[plain]"].matrix, expected, rtol=0, atol=1e-7
    )
    in_pixels = [depara.describe(m, references(made, "plain").images) for m in models_of(made)]
    assert np.abs(expected - pairs(in_pixels, depara.compare)).max() > 1e-3


@pytest.mark.slow
def test_encoders_whose_zero_is_unknown_are_refused(made):
    model = load_encoder(made, "normal")
    model.mean = None
    with pytest.raises(ValueError, match="whose preprocessing is a mean and a deviation"):
        whole_distances("depara", [model, model], references(made, "plain").images)


# The stage.

FEW = {"references": ("plain",), "targets": ("channel_peaks",), "baselines": ("zero",)}
FEW |= {"rivals": ("integrated_gradients", "saliency", "rsa")}


def contents(run):
    folder = run.folder / "distances"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def refused(*_):
    raise AssertionError("nothing is left to compare")


@pytest.mark.slow
def test_what_is_there_is_not_computed_again(made, monkeypatch):
    before = contents(made)
    assert "parts" not in before
    monkeypatch.setattr(stage, "_compare", refused)
    extract_fields(made)
    assert contents(made) == before


@pytest.mark.slow
def test_a_stage_that_was_killed_goes_on_and_ends_alike(patched, made, tmp_path, monkeypatch):
    run = opened(tmp_path, **FEW)
    compared, done = stage._compare, []

    def killed(run, digests, piece):
        if len(done) == 4:
            raise KeyboardInterrupt
        compared(run, digests, piece)
        done.append(piece)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "_compare", killed)
        with pytest.raises(KeyboardInterrupt):
            extract_fields(run)
    assert len(list((run.folder / "distances" / "parts").iterdir())) == 4
    monkeypatch.setattr(stage, "_compare", lambda *a: (compared(*a), done.append(a[-1])))
    extract_fields(run)
    # Three pieces of fields, three of maps, and RSA; integrated gradients come with fields.
    assert len(done) == len(set(done)) == 7
    whole = contents(made)
    assert contents(run) == {name: whole[name] for name in contents(run)}
    assert len(contents(run)) == 4


@pytest.mark.slow
def test_a_damaged_file_is_made_again(patched, tmp_path):
    run = opened(tmp_path, **FEW)
    extract_fields(run)
    before = contents(run)
    path = distances_path(run, MethodName("rsa", "plain"))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(SealedFileError):
        read_distances(run)
    references_path(run, "plain").write_bytes(b"nothing")
    extract_fields(run)
    assert contents(run) == before


@pytest.mark.slow
def test_other_encoders_are_other_distances(patched, tmp_path):
    run = opened(tmp_path, **FEW)
    extract_fields(run)
    before = read_distances(run)
    write_encoder(run, "normal", network(17))
    with pytest.raises(ValueError, match="run the stage extract_fields again"):
        read_distances(run)
    extract_fields(run)
    after = read_distances(run)
    for name in before:
        change = np.abs(after[name].matrix - before[name].matrix)
        assert change[2, :2].min() > 1e-3
        assert change[:2, :2].max() == 0


@pytest.mark.slow
def test_an_encoder_that_sees_nothing_is_counted(patched, tmp_path):
    run = opened(tmp_path, **FEW | {"rivals": ()})
    dead = network(0)
    with torch.no_grad():
        dead.compress_bn.weight.zero_()
        dead.compress_bn.bias.fill_(-1)
    write_encoder(run, "normal", dead)
    with pytest.warns(
        ZeroCellWarning, match=rf"zero cells among {N * S} in field normal by modelgif"
    ):
        extract_fields(run)
    found = read_distances(run)["modelgif[plain,channel_peaks,zero]"]
    assert found.zero_cells.tolist() == [0, 0, N * S]
    np.testing.assert_array_equal(found.matrix[2], [1, 1, 0])


def test_a_file_of_distances_reads_back_what_was_written(tmp_path):
    values = np.random.default_rng(0).random((2, 2, 4))
    name = MethodName("modelgif", "plain", "channel_peaks:2", "zero")
    full = Distances(name, ("a", "b"), values.mean(2), values, np.array([0, 3]))
    for i, distances in enumerate((full, Distances(name, ("a", "b"), values.mean(2)))):
        write_distances_file(tmp_path / f"{i}.safetensors", distances, {"encoders": {"a": "1"}})
        found, made_from = read_distances_file(tmp_path / f"{i}.safetensors")
        assert made_from == {"encoders": {"a": "1"}}
        for field in dataclasses.fields(Distances):
            expected = getattr(distances, field.name)
            if isinstance(expected, np.ndarray):
                np.testing.assert_array_equal(getattr(found, field.name), expected)
            else:
                assert getattr(found, field.name) == expected
