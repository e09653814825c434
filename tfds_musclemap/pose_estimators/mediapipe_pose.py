"""MediaPipe Pose as a pose estimator for ``tfds_musclemap.extract_skeletons``; speaks the protocol of ``pose_process``.

Runs by its path in an environment that has ``mediapipe``, ``av`` and ``numpy`` and nothing of this project. With
MediaPipe up to 0.10.21, whose wheel holds its models, it needs no further file; later releases come without models and
take ``--model=pose_landmarker_full.task``, which MediaPipe's site hands out. Joints are MediaPipe's 33 landmarks in
pixels of the video as a player shows it; the score of a joint is its visibility. Without ``--model`` one person is
found, with it up to ``--num_persons``.
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
    """A function from an image to lists of landmarks; follows the one person that it finds from frame to frame."""
    with mediapipe.solutions.pose.Pose(model_complexity=1) as pose:

        def find(image, _):
            found = pose.process(image).pose_landmarks
            return [found.landmark] if found else []

        yield find


@contextlib.contextmanager
def task(arguments):
    """As ``solution``, by the interface of later releases."""
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
    """The answer for one video."""
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
    """Answers requests until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="pose_landmarker_*.task, for releases without models inside")
    parser.add_argument("--num_persons", type=int, default=1, help="persons to find, with --model")
    arguments = parser.parse_args()
    if arguments.model is None and not hasattr(mediapipe, "solutions"):
        sys.exit(f"mediapipe {mediapipe.__version__} holds no models: give --model=pose_landmarker_full.task")
    if arguments.model is not None and not os.path.isfile(arguments.model):
        sys.exit(f"{arguments.model}: no such model")
    estimator = task if arguments.model else solution
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    answer = {"protocol": PROTOCOL, "name": f"mediapipe {mediapipe.__version__}", "layout": "mediapipe33"}
    print(json.dumps(answer), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = estimate(json.loads(line)["video"], estimator, arguments)
        except Exception as error:  # of this video: told to the parent, the next one may be well
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
