"""``modelgif compare``: how far apart are two models?"""

import click

from modelgif.cli.described import describe
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
    """Say how far apart two MODELs are in function: 0 for the same one, near 1 for strangers."""
    found = describe([a, b], settings, progress=not as_json)
    first, name = found.names
    each, labels = found.field_distances(name), found.label_distances(name)
    result = {
        "distance": each.mean().item(),
        "plus_or_minus": 1.96 * each.std().item() / len(each) ** 0.5,
        "unlike_labels": None if labels.isnan().any() else labels.mean().item(),
        "same_architecture": found.kinds[first] == found.kinds[name],
        "references": len(found.references),
        "steps": settings.steps,
        "notes": found.notes,
    }
    print_result(result, as_json=as_json)
