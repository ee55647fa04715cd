"""DEPARA: a graph of what each input's features rest on, and how inputs relate. Needs gradients.

Nodes are the references, each with its attribution map; edges are the similarities of their
features. It was made for models of different tasks, so neither needs a common label set.

Source: Song et al., DEPARA: Deep Attribution Graph for Deep Knowledge Transferability, CVPR 2020,
section 3.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from modelgif.distances.distance import distance
from modelgif.fields.model import Model
from modelgif.methods._outputs import at_least, comparable, outputs
from modelgif.methods._similarity import cosine_matrix
from modelgif.methods.attribution import input_gradient
from modelgif.methods.method import Method
from modelgif.methods.rsa import centred_ranks, upper


@dataclass(frozen=True)
class Graph:
    """A deep attribution graph.

    Attributes:
        nodes: attribution maps ``[N, 1, *input_shape]``.
        edges: centred ranks of the cosines of the features of all pairs, ``[N(N-1)/2]``.
    """

    nodes: Tensor
    edges: Tensor

    def to(self, device: torch.device | str) -> "Graph":
        """Returns the graph on `device`."""
        return Graph(self.nodes.to(device), self.edges.to(device))


def describe(
    model: Model,
    references: Tensor,
    *,
    encoder: Model | None = None,
    batch_size: int = 512,
    chunk_size: int | None = None,
) -> Graph:
    """Returns the deep attribution graph of `model` at `references`.

    A node's map is gradient × input of the sum of all features.

    Args:
        model: gives scores ``[B, ...]``.
        references: ``[N, *input_shape]``, at least three.
        encoder: maps a batch to features ``[B, ...]`` that can be differentiated, such as the
            model without its last layer; None for the scores of `model` itself.
        batch_size: references per pass of features.
        chunk_size: references per forward and backward pass of maps.

    Raises:
        ValueError: for fewer than three references, or features or maps that are not finite, naming
            the reference.
        TypeError: for features that do not depend differentiably on the input.
    """
    at_least(references, 3, "because two make one pair, and one pair no order")
    source = model if encoder is None else encoder
    features = outputs(source, references, batch_size=batch_size).flatten(1)
    gradient = input_gradient(source, references, target="output_sum", chunk_size=chunk_size)
    nodes = gradient * references.detach().to(gradient)[:, None]
    return Graph(nodes, centred_ranks(upper(cosine_matrix(features))))


def compare(a: Graph, b: Graph, *, edge_weight: float = 1.0) -> float:
    """Returns the distance of two graphs, in [0, 2].

    It is the mean of one minus the cosine of nodes, averaged over references, and of one minus the
    Spearman correlation of edges, the latter with the weight λ of the paper's sum of similarities:

        ((1 − s_nodes) + λ (1 − s_edges)) / (1 + λ)

    Zero maps and tied edges count as zero cells do in `modelgif.distances.distance`.

    Args:
        a: of one model.
        b: of another, at the same references.
        edge_weight: λ; 0 for nodes alone.

    Raises:
        ValueError: for graphs at different references, or a negative weight.

    Warns:
        ZeroCellWarning: for zero maps, or edges that are all tied.

    Example:
        >>> import torch
        >>> x = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
        >>> victim, suspect = torch.diag(torch.tensor([2.0, 1.0, 1.0])), torch.ones(3, 3).triu()
        >>> a, b = describe(lambda z: z @ victim, x), describe(lambda z: z @ suspect, x)
        >>> round(compare(a, b), 4)
        0.0209
    """
    if not 0 <= edge_weight < float("inf"):
        raise ValueError(f"edge_weight must be a finite number of at least 0, got {edge_weight}.")
    comparable(a.nodes, b.nodes, "attribution maps")
    comparable(a.edges, b.edges, "edges")
    nodes = distance(a.nodes, b.nodes)
    edges = distance(a.edges[None, None], b.edges[None, None])
    return (nodes + edge_weight * edges) / (1 + edge_weight)


METHODS = (
    Method(
        "depara",
        "graphs of attribution maps and of how features relate references",
        describe,
        compare,
        access="gradients",
        bounds=(0.0, 2.0),
        source="Song et al., CVPR 2020",
    ),
)
