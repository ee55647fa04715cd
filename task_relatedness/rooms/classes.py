"""What can be in a room."""

SEMANTIC_CLASSES = (
    *("wall", "floor", "ceiling", "window", "door", "picture", "rug"),
    *("table", "chair", "sofa", "bed", "shelf", "cabinet", "lamp", "plant", "television"),
    "ornament",
)
# Those that an image can be of; the others belong to the house.
OBJECT_CLASSES = SEMANTIC_CLASSES[SEMANTIC_CLASSES.index("table") :]
