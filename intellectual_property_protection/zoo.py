"""The zoo: which models exist, in which role, and by which recipe each is made."""

from dataclasses import dataclass, replace

from intellectual_property_protection.config import IPPConfig, Recipe, Role


@dataclass(frozen=True)
class Member:
    """One model of the zoo.

    Attributes:
        name: unique; the name of its files.
        role: what it is used for.
        recipe: how it is made; anything but ``scratch`` derives it from the victim.
        architecture: name in `modelgif.experiment.networks`, or an address.
        ratio: share of the weights that ``prune`` removes.
    """

    name: str
    role: Role
    recipe: Recipe
    architecture: str
    ratio: float | None = None

    @property
    def is_derived(self) -> bool:
        """Whether it was truly made from the victim."""
        return self.recipe != "scratch"

    @property
    def short_architecture(self) -> str:
        """The architecture's name, without where it comes from and its arguments."""
        return self.architecture.split("?")[0].split(":")[-1]

    @property
    def attack(self) -> str:
        """What was done to the victim, for tables: the recipe, or ``none``."""
        return self.recipe if self.is_derived else "none"


def roster(config: IPPConfig) -> list[Member]:
    """Returns all members of the zoo, the victim first."""
    members = []
    for group in sorted(config.zoo, key=lambda group: group.role != "victim"):
        stem = group.recipe if group.recipe != "scratch" else group.role
        if group.role == "suspect" and group.recipe == "scratch":
            stem = "honest"
        for architecture in group.architectures:
            for ratio in group.ratios or (None,):
                kind = stem if ratio is None else f"{stem}{round(100 * ratio)}"
                for i in range(group.count):
                    member = Member(kind, group.role, group.recipe, architecture, ratio)
                    name = f"{kind}-{member.short_architecture}-{i}"
                    members.append(replace(member, name=name))
    names = [member.name for member in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the zoo names {twice[0]} twice; merge the groups that make it.")
    return members
