"""The testbed's configuration."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator

from modelgif.experiment.config import Config
from modelgif.experiment.training import TrainingConfig
from modelgif.fields.quadrature import Rule
from modelgif.fields.target import resolve_target
from task_relatedness.methods import RIVALS
from task_relatedness.tasks import TASK_NAMES

Text = Annotated[str, Field(min_length=1)]


class RoomsConfig(Config):
    """Rendered rooms, and which of them serve for what; see `task_relatedness.rooms.data_set`.

    The first `n_train` rooms train encoders, the next `n_transfer` train decoders of other tasks
    on frozen encoders, the next `n_test` measure both, and the last `n_references` are where
    encoders are compared: no room serves twice.

    Attributes:
        folder: where rooms are rendered to and found again, whatever the run.
        size: pixels per side.
        samples: paths per pixel.
        n_train: rooms on which encoders are trained.
        n_transfer: rooms on which decoders of other tasks are trained.
        n_test: rooms on which both are measured.
        n_references: rooms at which encoders are compared.
    """

    folder: Text = "runs/rooms"
    size: PositiveInt = 64
    samples: PositiveInt = 64
    n_train: PositiveInt
    n_transfer: PositiveInt
    n_test: PositiveInt
    n_references: PositiveInt

    @property
    def count(self) -> int:
        """How many rooms are needed."""
        return self.n_train + self.n_transfer + self.n_test + self.n_references


class ZooConfig(Config):
    """The encoders that are trained on rooms, each with a decoder of its own.

    Attributes:
        width: channels of the encoder's first layer; the published one has 64.
        training: how each is trained.
        transfer: how a small decoder is trained on a frozen encoder.
        noise: standard deviation of what denoising is to remove, of pixels in [0, 1].
        mirror: whether half of the rooms, others in each epoch, are learnt from as mirrors show
            them.
    """

    width: PositiveInt = 16
    training: TrainingConfig
    transfer: TrainingConfig
    noise: NonNegativeFloat = 0.15
    mirror: bool = True


class PublishedConfig(Config):
    """Taskonomy's published encoders, and images of one's own to compare them at.

    Attributes:
        root: folder of the encoders' files under their published names.
        images: folder of images, such as Taskonomy's tiny test split.
        size: pixels a side to which they are cropped and resized.
        n_references: how many of them, drawn at random.
    """

    root: Text
    images: Text
    size: PositiveInt = 128
    n_references: PositiveInt = 1000


References = Literal["plain", "cutmix", "adversarial"]
Baseline = Literal["zero", "reference"]


class PerturbationConfig(Config):
    """How far adversarial references are moved, in pixels of [0, 1].

    Attributes:
        epsilon: largest change of a pixel.
        step_size: change of a pixel per step.
        n_steps: steps of the attack.
    """

    epsilon: Annotated[float, Field(gt=0, le=1)] = 8 / 255
    step_size: Annotated[float, Field(gt=0, le=1)] = 2 / 255
    n_steps: PositiveInt = 10


class MeasureConfig(Config):
    """How encoders are compared: every combination of references, target and baseline.

    Attributes:
        references: images as they are; pairs of them cut together; or moved so that the encoder
            of `adversary` answers otherwise.
        targets: see `modelgif.resolve_target`; the first is the paper's.
        baselines: a zero input, which is the mean image, or another reference drawn at random.
        n_steps: nodes on the path.
        rule: quadrature rule.
        average_channels: whether fields are averaged over the colour channels before they are
            compared, as in the paper's released program.
        rivals: other methods beside, of `task_relatedness.methods`.
        adversary: the task whose encoder adversarial references are made against.
        perturbation: of these.
        n_bootstrap: bootstrap draws of references and of tasks for intervals.
    """

    references: tuple[References, ...] = ("plain", "cutmix")
    targets: tuple[Text, ...] = ("channel_peaks",)
    baselines: tuple[Baseline, ...] = ("zero",)
    n_steps: PositiveInt = 50
    rule: Rule = "gausslegendre"
    average_channels: bool = False
    rivals: tuple[Text, ...] = ()
    adversary: Text = "autoencoding"
    perturbation: PerturbationConfig = PerturbationConfig()
    n_bootstrap: PositiveInt = 1000

    @field_validator("targets")
    @classmethod
    def _are_targets(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        for target in targets:
            resolve_target(target)
        return targets

    @field_validator("rivals")
    @classmethod
    def _are_rivals(cls, rivals: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(rivals) - set(RIVALS))
        if unknown:
            raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(RIVALS)}")
        return rivals


class TaskRelatednessConfig(Config):
    """Which encoders, where they are compared, and with what.

    Attributes:
        seed: all random draws depend on it.
        device: where.
        tasks: a choice of `task_relatedness.tasks.TASKS`, in its order; all by default.
        rooms: images and truth to train on; None with `published`.
        zoo: how encoders are trained on rooms; None with `published`.
        published: encoders that others trained, in place of rooms.
        measure: how they are compared.
    """

    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    tasks: Annotated[tuple[str, ...], Field(min_length=3)] = TASK_NAMES
    rooms: RoomsConfig | None = None
    zoo: ZooConfig | None = None
    published: PublishedConfig | None = None
    measure: MeasureConfig = MeasureConfig()

    @field_validator("tasks")
    @classmethod
    def _are_tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(tasks) - set(TASK_NAMES))
        if unknown:
            raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(TASK_NAMES)}")
        if list(tasks) != [name for name in TASK_NAMES if name in tasks]:
            raise ValueError(f"must be in this order, each once: {', '.join(TASK_NAMES)}")
        return tasks

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.rooms is None) != (self.zoo is None):
            raise ValueError("rooms and zoo belong together")
        if (self.rooms is None) == (self.published is None):
            raise ValueError("give either rooms with zoo, or published")
        adversary = self.measure.adversary
        if "adversarial" in self.measure.references and adversary not in self.tasks:
            raise ValueError(f"measure.adversary must be one of the tasks, got {adversary}")
        return self
