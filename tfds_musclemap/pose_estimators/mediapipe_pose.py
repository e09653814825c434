"""MediaPipe's pose landmarker as a pose estimator for ``tfds_musclemap.extract_skeletons``.

Run by its path in an environment that has ``mediapipe``, ``av`` and ``numpy``; the protocol is that of
``tfds_musclemap/importing/pose_process.py``. Videos are read by this project's reader, which needs no more than that.
Joints are MediaPipe's 33 landmarks in pixels of the video as a player shows it, one pose per decoded frame, also of a
video with a variable frame rate; a joint's score is its visibility.
"""

import argparse
import json
import os
import pathlib
import sys

import mediapipe
import numpy as np

sys.path.append(str(pathlib.Path(__file__).parents[2]))
from musclemap_jax.data.raw.decoding import decode

sys.path.pop()  # nothing else may come from there: it can be the packages of another environment

PROTOCOL = 1


def frames(path):
    """Yields a video's uint8 (H, W, 3) RGB frames as a player shows them, and their times in milliseconds."""
    video, decoded = decode(pathlib.Path(path))
    first, time_ms = None, -1
    for number, frame, orientation in decoded:
        first = first or frame
        time_s = (frame.time or 0) - (first.time or 0) if video.is_variable else number / video.fps
        time_ms = max(round(1000 * time_s), time_ms + 1)
        image = frame.to_ndarray(format="rgb24", width=first.width, height=first.height)
        yield np.ascontiguousarray(orientation.shown(image)), time_ms


def estimate(path, model, num_persons):
    """The response for one video."""
    vision = mediapipe.tasks.vision
    options = vision.PoseLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=model),
        running_mode=vision.RunningMode.VIDEO,
        num_poses=num_persons,
    )
    detections, num_frames = [], 0
    with vision.PoseLandmarker.create_from_options(options) as landmarker:
        for image, time_ms in frames(path):
            wrapped = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            height, width = image.shape[:2]
            for landmarks in landmarker.detect_for_video(wrapped, time_ms).pose_landmarks:
                joints = [(mark.x * width, mark.y * height, mark.visibility or 0.0) for mark in landmarks]
                keypoints = [round(float(value), 3) for joint in joints for value in joint]
                detections.append({"image_id": num_frames, "keypoints": keypoints})
            num_frames += 1
    return {"num_frames": num_frames, "detections": detections}


def main():
    """Responds to requests until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="pose_landmarker_*.task")
    parser.add_argument("--num_persons", type=int, default=1, help="persons to find in a frame")
    arguments = parser.parse_args()
    if not os.path.isfile(arguments.model):
        sys.exit(f"--model={arguments.model}: no such file")
    # Output of the libraries must not mix with the responses.
    responses = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    greeting = {"protocol": PROTOCOL, "name": f"mediapipe {mediapipe.__version__}", "layout": "mediapipe33"}
    print(json.dumps(greeting), file=responses, flush=True)
    for line in sys.stdin:
        try:
            response = estimate(json.loads(line)["video"], arguments.model, arguments.num_persons)
        except Exception as error:  # reported to the parent; the next video may succeed
            response = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(response), file=responses, flush=True)


if __name__ == "__main__":
    main()
