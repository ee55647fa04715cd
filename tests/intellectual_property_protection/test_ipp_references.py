"""Candidates, and the comparison of models with the victim at them."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from intellectual_property_protection.comparing.candidates import (
    columns_of,
    first_of,
    make_candidates,
)
from intellectual_property_protection.comparing.comparison_file import (
    Comparison,
    digest,
    read_comparison,
    write_comparison,
)
from intellectual_property_protection.comparing.victim_comparison import (
    ZERO_CELLS,
    VictimComparison,
)
from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.evaluation_config import ReferencesConfig
from intellectual_property_protection.methods import (
    FIELD_STEPS,
    PER_REFERENCE_NAMES,
    SET_NAMES,
    SETS,
)
from modelgif.data.data import load_data
from modelgif.distances.distance import distance, distance_per_reference
from modelgif.experiment.config import load_config
from modelgif.experiment.training import predict
from modelgif.fields.gradient_field import gradient_field
from modelgif.methods import (
    METHODS,
    Method,
    attribution,
    ipguard,
    label_agreement,
    output_divergence,
    sac,
    zest,
)
from modelgif.zoo.extract import extract

SOURCES = ("random", "misclassified", "cutmix", "adversarial")
CONFIG = "intellectual_property_protection/configs/smoke.yaml"


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = (nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 10))
        return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


@pytest.fixture(scope="module")
def victim():
    return network(0)


def candidates_of(digits, victim, *, pool=12, seed=3, sources=SOURCES):
    config = ReferencesConfig(sources=sources, pool=pool, count=5)
    return make_candidates(config, digits, victim, seed=seed)


@pytest.fixture(scope="module")
def candidates(digits, victim):
    return candidates_of(digits, victim)


def test_candidates_are_what_their_source_says(candidates, digits, victim):
    pool = {source: candidates.images[columns_of(candidates.ids, source)] for source in SOURCES}
    rows = {
        source: [
            int(candidates.ids[i].rsplit("/", 1)[1]) for i in columns_of(candidates.ids, source)
        ]
        for source in SOURCES
    }
    assert [len(images) for images in pool.values()] == [12] * 4
    assert rows["random"] == rows["cutmix"] == rows["adversarial"]
    assert torch.equal(pool["random"], digits.test_images[rows["random"]])
    wrong = predict(victim, pool["misclassified"]).argmax(1)
    assert (wrong != digits.test_labels[rows["misclassified"]]).all()
    moved = (pool["adversarial"] - pool["random"]).abs().amax((1, 2, 3))
    epsilon = ReferencesConfig().perturbation.epsilon
    assert ((moved > 0.01) & (moved <= epsilon + 1e-6)).all()
    labels = digits.test_labels[rows["random"]]
    losses = [
        nn.functional.cross_entropy(predict(victim, pool[s]), labels)
        for s in ("random", "adversarial")
    ]
    assert losses[1] > losses[0] + 0.1
    mixed = pool["cutmix"]
    assert not torch.equal(mixed, pool["random"])
    assert all(any((p == q).all() for q in pool["random"][:, 0, 0, 0]) for p in mixed[:, 0, 0, 0])


def test_candidates_depend_on_seed_and_not_on_other_sources(candidates, digits, victim):
    again = candidates_of(digits, victim)
    assert again.sha256() == candidates.sha256()
    assert candidates_of(digits, victim, seed=4).ids != candidates.ids
    some = candidates_of(digits, victim, sources=("adversarial", "random"))
    for source in ("adversarial", "random"):
        ours, theirs = (first_of(c, source, 12) for c in (some, candidates))
        assert ours.sha256() == theirs.sha256()
    larger = candidates_of(digits, victim, pool=20)
    for source in ("random", "misclassified"):
        assert first_of(larger, source, 12).ids == first_of(candidates, source, 12).ids


def test_a_victim_without_errors_has_no_misclassified_references(digits):
    class Knowing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, images):
            return nn.functional.one_hot(digits.test_labels[: len(images)], 10) * self.weight

    few = type(digits)(
        digits.name,
        digits.train_images,
        digits.train_labels,
        digits.test_images[:20],
        digits.test_labels[:20],
        digits.classes,
    )
    with pytest.raises(ValueError, match="misclassifies no test image"):
        candidates_of(few, Knowing(), sources=("misclassified",))


def test_a_comparison_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "folder" / "model.h5"
    assert read_comparison(path) == Comparison()
    made = Comparison()
    made.put("field", np.random.default_rng(0).random(7), digest("a"))
    made.put("sac@random", 0.25, digest("b", 1))
    write_comparison(path, made)
    read = read_comparison(path)
    assert np.array_equal(read.per_reference["field"], made.per_reference["field"])
    assert (read.of_sets, read.made_from) == (made.of_sets, made.made_from)
    assert read.holds("field", digest("a"))
    assert not read.holds("field", digest("b"))
    with pytest.raises(ValueError, match="field is not finite"):
        made.put("field", np.array([0.0, math.nan]), "")


@pytest.fixture(scope="module")
def comparison(candidates, victim, tmp_path_factory):
    config = load_config(
        IPPConfig,
        CONFIG,
        [
            "field.n_steps=6",
            "field.storage=float32",
            f"evaluation.per_reference_methods=[{','.join(PER_REFERENCE_NAMES)}]",
            f"evaluation.set_methods=[{','.join(SET_NAMES)}]",
            "evaluation.set_sources=[random, cutmix]",
            "references.pool=12",
            "references.count=5",
        ],
    )
    folder = tmp_path_factory.mktemp("fields")
    options = config.field.options()
    extract({"v": victim}, candidates, folder, baseline=0.3, progress=False, **options)
    return VictimComparison(config, candidates, 0.3, victim, folder / "v.h5")


def compare(comparison, model, found, *, same_classes=True, same_architecture=True):
    comparison.compare_with_victim(
        model, found, same_classes=same_classes, same_architecture=same_architecture
    )


@pytest.fixture(scope="module")
def compared(comparison):
    found = Comparison()
    compare(comparison, network(1), found)
    return found


@pytest.mark.slow
def test_the_victim_is_at_distance_zero_from_itself(comparison, victim):
    found = Comparison()
    compare(comparison, victim, found)
    assert set(found.per_reference) == set(PER_REFERENCE_NAMES)
    assert all(np.abs(values).max() < 1e-9 for values in found.per_reference.values())
    assert {name: abs(value) for name, value in found.of_sets.items()} == pytest.approx(
        dict.fromkeys(found.of_sets, 0.0), abs=1e-6
    )


def test_per_reference_methods_are_those_of_the_library(comparison, compared, candidates, victim):
    images, other = candidates.images, network(1)
    a, b = (gradient_field(m, images, n_steps=6, baseline=0.3) for m in (victim, other))
    each = distance_per_reference(a, b).numpy()
    assert compared.per_reference["field"] == pytest.approx(each, abs=1e-6)
    assert compared.per_reference["field_last"].mean() == pytest.approx(
        distance(a[:, 5:], b[:, 5:]), abs=1e-6
    )
    assert compared.per_reference["field_late"].mean() == pytest.approx(
        distance(a[:, 3:], b[:, 3:]), abs=1e-6
    )
    for name, method, options, choice in (
        ("labels", label_agreement, {}, {}),
        ("jsd", output_divergence, {}, {"kind": "jensen_shannon"}),
        ("kl", output_divergence, {}, {"kind": "kullback_leibler"}),
        ("saliency", attribution, {"kind": "saliency"}, {}),
        ("gradient", attribution, {"kind": "gradient"}, {}),
        ("gradient_input", attribution, {"kind": "gradient_times_input", "baseline": 0.3}, {}),
    ):
        described = [method.describe(m, images, **options) for m in (victim, other)]
        expected = method.compare(*described, **choice)
        assert compared.per_reference[name].mean() == pytest.approx(expected, abs=1e-6), name
    assert compared.of_sets[ZERO_CELLS] == 0


def test_set_methods_are_those_of_the_library_at_the_first_references(compared, candidates, victim):
    for source in ("random", "cutmix"):
        images = first_of(candidates, source, 5).images
        for name, method, options in (
            ("sac", sac, {}),
            ("sac_labels", sac, {"answer": "labels"}),
            ("zest", zest, {"n_samples": 128, "baseline": 0.3}),
        ):
            described = [method.describe(m, images, **options) for m in (victim, network(1))]
            expected = method.compare(*described)
            assert compared.of_sets[f"{name}@{source}"] == pytest.approx(expected, abs=1e-6), name
    assert set(compared.of_sets) == {
        ZERO_CELLS,
        *(f"{name}@{source}" for name in SETS for source in ("random", "cutmix")),
    }
    assert 0 <= compared.of_sets["ipguard@random"] <= 1
    assert ipguard.compare(torch.tensor([1, 2]), torch.tensor([1, 3])) == 0.5


def test_permuted_classes_change_only_methods_that_know_them(comparison, victim):
    permuted = network(0)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    permuted[3].weight.data = victim[3].weight.data[order]
    permuted[3].bias.data = victim[3].bias.data[order]
    found = Comparison()
    compare(comparison, permuted, found, same_classes=False)
    known = {name for name, method in METHODS.items() if not method.same_classes}
    assert {name.split("@")[0] for name in {**found.per_reference, **found.of_sets}} == {
        *known,
        *FIELD_STEPS,
        ZERO_CELLS,
    }
    assert not {"labels", "jsd", "kl", "ipguard"} & known
    assert all(np.abs(values).max() < 1e-6 for values in found.per_reference.values())
    assert {name: abs(value) for name, value in found.of_sets.items()} == pytest.approx(
        dict.fromkeys(found.of_sets, 0.0), abs=1e-5
    )


def test_a_method_is_used_as_it_declares(comparison, victim, monkeypatch):
    declared = Method(
        "toy",
        "how often labels agree",
        label_agreement.describe,
        lambda a, b: 1 - label_agreement.compare(a, b),
        access="labels",
        bounds=(0.0, 1.0),
        nearer="higher",
        same_architecture=True,
        source="nowhere",
    )
    monkeypatch.setitem(SETS, "toy", declared)
    evaluation = comparison.config.evaluation.model_copy(update={"set_methods": ("toy",)})
    config = comparison.config.model_copy(update={"evaluation": evaluation})
    monkeypatch.setattr(comparison, "config", config)
    found = Comparison()
    compare(comparison, network(1), found, same_architecture=False)
    assert not {"toy@random", "toy@cutmix"} & set(found.of_sets)
    compare(comparison, victim, found)
    assert found.of_sets["toy@random"] == -1
    monkeypatch.setitem(SETS, "toy", replace(declared, nearer="lower"))
    again = Comparison()
    compare(comparison, victim, again)
    assert again.of_sets["toy@random"] == 1


def test_only_what_is_missing_is_computed(comparison, compared, monkeypatch):
    found = Comparison(
        dict(compared.per_reference), dict(compared.of_sets), dict(compared.made_from)
    )
    monkeypatch.setattr(
        "intellectual_property_protection.comparing.victim_comparison.gradient_field", None
    )
    compare(comparison, network(1), found)
    del found.made_from["jsd"], found.per_reference["jsd"]
    compare(comparison, network(1), found)
    assert np.array_equal(found.per_reference["jsd"], compared.per_reference["jsd"])
    with pytest.raises(TypeError):  # other weights: the field is needed again
        compare(comparison, network(2), found)


def test_cells_without_direction_are_counted_without_a_warning(comparison):
    dead = network(5)
    nn.init.zeros_(dead[3].weight)
    found = Comparison()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(comparison, dead, found)
    assert found.of_sets[ZERO_CELLS] == 48 * 6
    assert (found.per_reference["field"] == 1).all()
