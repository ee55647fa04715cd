"""What one model shows when it is looked at once, before any field is computed."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from modelgif.fields.class_contrast import OutputKind, output_kind, output_note, output_scale
from modelgif.fields.function_check import function_check
from modelgif.fields.gradient_check import gradient_check
from modelgif.fields.number_format import refuse_quantised
from modelgif.fields.target import Target, resolve_target
from modelgif.loading.checkpoint import weights_sha256
from modelgif.loading.preprocessing import Preprocessed
from modelgif.methods._outputs import outputs
from modelgif.verdict.calibration_set import ModelFacts

# Kinds of answers whose gradients are zero, or that are the same at every reference.
SILENT: tuple[OutputKind, ...] = ("one_hot", "rounded", "constant")


@dataclass(frozen=True, eq=False)
class Examined:
    """What one model shows.

    Attributes:
        name: of the model.
        architecture: two models of one architecture have the same text here; empty for a model
            that cannot be loaded.
        weights_sha256: of its weights; empty where these are not dense tensors.
        norm_updates: how many batches each BatchNorm layer has counted; None without one.
        answers: its scores at the references, ``[N, C]``; None when it cannot be judged by them.
        has_field: whether its gradient field may be used as evidence.
        needs_float64: whether its gradients are right in that precision only.
        failure: why it cannot be judged by its function at all; empty when it can.
        notes: what a reader must know, sentences behind the model's name.
    """

    name: str
    architecture: str = ""
    weights_sha256: str = ""
    norm_updates: tuple[int, ...] | None = None
    answers: Tensor | None = None
    has_field: bool = False
    needs_float64: bool = False
    failure: str = ""
    notes: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """The number of classes; 0 for a model without answers."""
        return 0 if self.answers is None else self.answers.shape[1]

    def labels(self) -> Tensor:
        """Returns the predicted classes ``[N]``.

        Raises:
            ValueError: for a model without answers.
        """
        if self.answers is None:
            raise ValueError(f"{self.name} has no answers: {self.failure}")
        return self.answers.argmax(1)

    def facts(self, parent: str = "", shares_origin: bool | None = None) -> ModelFacts:
        """Returns what the examination of a calibration set is told of the model."""
        labels = scores = None
        if self.answers is not None:
            labels, scores = self.labels().numpy(), _logits(self.answers)
        return ModelFacts(
            self.name,
            self.weights_sha256,
            parent=parent,
            labels=labels,
            scores=scores,
            norm_updates=self.norm_updates,
            shares_origin_with_victim=shares_origin,
        )


def examine(
    name: str,
    model: nn.Module,
    images: Tensor,
    *,
    architecture: str,
    target: str | Target,
    baseline: float | Tensor,
    check_gradients: bool = True,
    seed: int = 0,
) -> Examined:
    """Returns what a model shows at the references `images`.

    A model that is not a function of single images, or that cannot be run, is not judged by its
    function. One whose gradients are not those of its outputs, or are zero throughout, is judged
    without its field. Whatever a model's own code raises becomes the reason, so that one model
    never ends a trial of several.

    Args:
        name: of the model.
        model: with its preprocessing.
        images: the references, ``[N, *input_shape]``.
        architecture: a text that models of one architecture share.
        target: what its field would be of.
        baseline: where paths start.
        check_gradients: whether to compare gradients with outputs, some 150 passes of one image.
        seed: of the draws of the checks.
    """
    found = Examined(name, architecture, _digest(model), _updates(model))
    draw = torch.Generator().manual_seed(seed)
    try:
        function = function_check(model, images, generator=draw)
        if not function.sound:
            return replace(found, failure=function.reason)
        answers = outputs(model, images).cpu()
    except Exception as error:
        return replace(found, failure=_said(error))
    if answers.ndim != 2:
        return replace(
            found, failure=f"gives {list(answers.shape[1:])} numbers per image, not one per class."
        )
    kind = output_kind(answers)
    found = replace(found, answers=answers)
    notes = [note] if (note := output_note(kind)) else []
    if isinstance(model, Preprocessed) and (done := model.resampling(*images.shape[-2:])):
        notes.append(f"references of {done}.")
    if kind in SILENT:
        return replace(found, notes=tuple(notes))
    try:
        refuse_quantised(model, name)
        settled = resolve_target(target).settled(answers)
        if check_gradients:
            check = gradient_check(model, images, target=settled, baseline=baseline, generator=draw)
            if not check.sound:
                return replace(found, notes=(*notes, check.reason))
            found = replace(found, needs_float64=check.needs_float64)
    except Exception as error:
        return replace(found, notes=(*notes, f"has no gradient field: {_said(error)}"))
    return replace(found, has_field=True, notes=tuple(notes))


def _logits(answers: Tensor) -> np.ndarray:
    scale = output_scale(answers)
    values = answers.double()
    tiny = torch.finfo(torch.float32).tiny
    if scale == "probabilities":
        values = values.clamp_min(tiny).log()
    elif scale == "odds":
        values = values.clamp_min(tiny).log() - (1 - values).clamp_min(tiny).log()
    return values.numpy()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(".") + "."


def _digest(model: nn.Module) -> str:
    try:
        return weights_sha256(model)
    except Exception:  # a weight of a class of its own may raise anything
        return ""


def _updates(model: nn.Module) -> tuple[int, ...] | None:
    counted = [int(b) for name, b in model.named_buffers() if name.endswith("num_batches_tracked")]
    return tuple(counted) or None
