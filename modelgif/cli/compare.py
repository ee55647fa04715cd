"""``modelgif compare``: how far apart are two models?"""

import click

from modelgif.cli.options import Settings, complete_models, describing
from modelgif.cli.printing import print_result


@click.command(
    epilog="""\b
    modelgif compare mine.safetensors theirs.safetensors --references photos --size 64
    modelgif compare 'timm:resnet18?pretrained=true' 'torchvision:resnet18?weights=DEFAULT' \\
        --references my_images --size 224"""
)
@click.argument("a", metavar="MODEL", shell_complete=complete_models)
@click.argument("b", metavar="MODEL", shell_complete=complete_models)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@describing
def compare(a: str, b: str, as_json: bool, *, settings: Settings) -> None:
    """Say how far apart two MODELs are in function: 0 for the same one, near 1 for unrelated ones.

    plus or minus: half the 95 % interval over the choice of references. label disagreement: the
    share of references to which the models assign different classes.
    """
    from modelgif.cli.described import describe

    described = describe([a, b], settings, progress=not as_json)
    first, name = described.names
    per_reference = described.field_distances(name)
    labels = described.label_disagreement(name)
    result = {
        "distance": per_reference.mean().item(),
        "plus_or_minus": 1.96 * per_reference.std().item() / len(per_reference) ** 0.5,
        "label_disagreement": None if labels.isnan().any() else labels.mean().item(),
        "same_architecture": described.architectures[first] == described.architectures[name],
        "references": len(described.references),
        "steps": settings.steps,
        "notes": described.notes,
    }
    print_result(result, as_json=as_json)
