"""Ground truth of Taskonomy's tasks from what is seen in each pixel; one idea a file.

Frame: the camera's, x to the right, y up, z towards the viewer; metres.
"""
