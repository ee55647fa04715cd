"""The 17 tasks of Taskonomy that the paper compares, in its order.

Source: Zamir et al., Taskonomy: Disentangling Task Transfer Learning, CVPR 2018, section 3.
"""

from dataclasses import dataclass
from typing import Literal

# What a task's truth is, and so its decoder and its loss:
# - image: numbers [C, H, W], and vector: numbers [C]
# - semantic: a class a pixel [H, W], and class: one class an image
# - segments: which pixels belong together [H, W]; the decoder gives each pixel an embedding
Form = Literal["image", "vector", "semantic", "class", "segments"]
Group = Literal["2D", "3D", "Geometric", "Semantic"]


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: in this project and in the names of published files.
        taskonomy_name: in Taskonomy's published affinities.
        display: in figures.
        group: of the paper's figure 3.
        form: of the truth.
        channels: outputs of its decoder; None where the data decide (numbers of classes).
    """

    name: str
    taskonomy_name: str
    display: str
    group: Group
    form: Form
    channels: int | None


TASKS = (
    Task("autoencoding", "autoencoder", "Autoencoder", "2D", "image", 3),
    Task("curvature", "curvature", "Curvature", "3D", "image", 2),
    Task("denoising", "denoise", "Denoise", "2D", "image", 3),
    Task("edge_texture", "edge2d", "Edge 2D", "2D", "image", 1),
    Task("edge_occlusion", "edge3d", "Edge 3D", "3D", "image", 1),
    Task("keypoints2d", "keypoint2d", "Keypoint 2D", "2D", "image", 1),
    Task("keypoints3d", "keypoint3d", "Keypoint 3D", "3D", "image", 1),
    Task("reshading", "reshade", "Reshade", "3D", "image", 1),
    Task("depth_zbuffer", "rgb2depth", "Rgb2depth", "3D", "image", 1),
    Task("depth_euclidean", "rgb2mist", "Rgb2mist", "3D", "image", 1),
    Task("normal", "rgb2sfnorm", "Rgb2sfnorm", "3D", "image", 3),
    Task("room_layout", "room_layout", "Room Layout", "Geometric", "vector", 11),
    Task("segment_unsup25d", "segment25d", "Segment25D", "3D", "segments", 64),
    Task("segment_unsup2d", "segment2d", "Segment2D", "2D", "segments", 64),
    Task(
        "vanishing_point",
        "vanishing_point_well_defined",
        "Vanishing Point",
        "Geometric",
        "vector",
        5,
    ),
    Task(
        "segment_semantic", "segmentsemantic_rb", "Segment Semantic", "Semantic", "semantic", None
    ),
    Task("class_object", "class_1000", "Class 1000", "Semantic", "class", None),
)
TASK_NAMES = tuple(task.name for task in TASKS)
