"""The zoo: which models exist, in which role, and by which recipe each is made."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from intellectual_property_protection.config import GroupConfig, IPPConfig, is_parent
from intellectual_property_protection.member import Member
from intellectual_property_protection.models.published_files import published_files
from modelgif.experiment.seeding import derive_seed


def roster(config: IPPConfig) -> list[Member]:
    """Returns all members of the zoo, the victim first.

    The k-th model that a group makes from independent parents of one architecture has the k-th of
    them, in turn, each kind of group beginning elsewhere.

    Raises:
        ValueError: for two models of one name.
    """
    if config.published is not None:
        return list(published_files())
    groups = sorted(config.zoo, key=lambda group: group.role != "victim")
    made = [(group, member) for group in groups for member in _members(group)]
    names = [member.name for _, member in made]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the zoo names {twice[0]} twice; merge the groups that make it.")
    victim = made[0][1]
    parents: dict[str, list[str]] = {}
    for group, member in made:
        if is_parent(group):
            parents.setdefault(member.architecture, []).append(member.name)
    members: list[Member] = []
    turns: dict[str, int] = {}
    for group, member in made:
        parent = None
        if group.made_from == "victim":
            parent = victim.name
        elif group.made_from == "independent":
            own = group.made_by.keeps_architecture
            known = parents[member.architecture if own else victim.architecture]
            kind = f"{_stem(group)}-{member.short_architecture}"
            turn = turns.setdefault(kind, derive_seed(0, kind))
            parent, turns[kind] = known[turn % len(known)], turn + 1
        members.append(replace(member, parent=parent))
    return members


def in_turns(members: Sequence[Member]) -> list[list[Member]]:
    """Returns the members in the order of their making: the victim, other parents, the rest.

    The models of one turn can be made side by side.
    """
    parents = {member.parent for member in members}
    turns: list[list[Member]] = [[], [], []]
    for member in members:
        turns[0 if member.role == "victim" else 1 if member.name in parents else 2].append(member)
    return [turn for turn in turns if turn]


def _members(group: GroupConfig) -> Iterator[Member]:
    """The models of a group, their parents still unknown."""
    stem = _stem(group)
    for architecture in group.architectures:
        for ratio in group.ratios or (None,):
            kind = stem if ratio is None else f"{stem}{round(100 * ratio)}"
            for i in range(group.count):
                member = Member(
                    kind,
                    group.role,
                    group.recipe,
                    architecture,
                    ratio,
                    data="victim" if group.role == "victim" else group.data,
                    label_set=group.labels,
                    replicate=i,
                )
                yield replace(member, name=f"{kind}-{member.short_architecture}-{i}")


def _stem(group: GroupConfig) -> str:
    """What the names of a group's models begin with; random numbers depend on names."""
    if group.made_from is None:
        words = ["honest" if group.role == "suspect" else group.role]
        words += [group.recipe] if group.recipe != "scratch" else []
        words += ["transfer"] if group.label_set == "transfer" else []
    else:
        words = [group.role] if group.role != "suspect" else []
        words.append(group.recipe)
    words += ["victims_data"] if group.data == "victim" else []
    return "_".join(words)
