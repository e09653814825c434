"""MediaPipe Pose as a pose estimator for ``tfds_musclemap.extract_skeletons``.

Run by its path in an environment that has ``mediapipe``, ``av`` and ``numpy`` and nothing of this project; the protocol
is that of ``tfds_musclemap/importing/pose_process.py``. MediaPipe's wheels up to 0.10.21 contain the models. Later
releases do not and need ``--model=pose_landmarker_full.task``, which MediaPipe's site offers. Joints are MediaPipe's 33
landmarks in pixels of the video as a player shows it; a joint's score is its visibility. Without ``--model`` one person
is found, with it up to ``--num_persons``.
"""

import argparse
import contextlib
import json
import os
import sys

import av
import mediapipe
import numpy as np

PROTOCOL = 1


def frames(path):
    """Yields uint8 (H, W, 3) RGB frames of a video, rotated as a player shows them."""
    with av.open(path) as container:
        container.streams.video[0].thread_type = "NONE"
        for frame in container.decode(video=0):
            image = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
            yield np.ascontiguousarray(image)


@contextlib.contextmanager
def solution(_):
    """Yields a function from an image to lists of landmarks; it tracks one person from frame to frame."""
    with mediapipe.solutions.pose.Pose(model_complexity=1) as pose:

        def find(image, _):
            found = pose.process(image).pose_landmarks
            return [found.landmark] if found else []

        yield find


@contextlib.contextmanager
def task(arguments):
    """The same as ``solution`` with the interface of later releases."""
    vision = mediapipe.tasks.vision
    options = vision.PoseLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=arguments.model),
        running_mode=vision.RunningMode.VIDEO,
        num_poses=arguments.num_persons,
    )
    with vision.PoseLandmarker.create_from_options(options) as landmarker:

        def find(image, number):
            wrapped = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            return landmarker.detect_for_video(wrapped, 33 * number).pose_landmarks

        yield find


def estimate(path, estimator, arguments):
    """The response for one video."""
    detections, num_frames = [], 0
    with estimator(arguments) as find:
        for number, image in enumerate(frames(path)):
            height, width = image.shape[:2]
            num_frames += 1
            for landmarks in find(image, number):
                joints = [(mark.x * width, mark.y * height, mark.visibility or 0.0) for mark in landmarks]
                keypoints = [round(float(value), 3) for joint in joints for value in joint]
                detections.append({"image_id": number, "keypoints": keypoints})
    return {"num_frames": num_frames, "detections": detections}


def main():
    """Responds to requests until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="pose_landmarker_*.task, for releases that contain no models")
    parser.add_argument("--num_persons", type=int, default=1, help="persons to find, with --model")
    arguments = parser.parse_args()
    if arguments.model is None and not hasattr(mediapipe, "solutions"):
        sys.exit(f"mediapipe {mediapipe.__version__} contains no models: set --model=pose_landmarker_full.task")
    if arguments.model is not None and not os.path.isfile(arguments.model):
        sys.exit(f"--model={arguments.model}: no such file")
    estimator = task if arguments.model else solution
    # Output of the libraries must not mix with the responses.
    responses = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    greeting = {"protocol": PROTOCOL, "name": f"mediapipe {mediapipe.__version__}", "layout": "mediapipe33"}
    print(json.dumps(greeting), file=responses, flush=True)
    for line in sys.stdin:
        try:
            response = estimate(json.loads(line)["video"], estimator, arguments)
        except Exception as error:  # reported to the parent; the next video may succeed
            response = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(response), file=responses, flush=True)


if __name__ == "__main__":
    main()
