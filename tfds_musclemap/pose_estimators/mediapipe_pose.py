"""MediaPipe's pose landmarker as a pose estimator for ``tfds_musclemap.extract_skeletons``.

Run by its path in an environment that has ``mediapipe``, ``av`` and ``numpy`` and nothing of this project; the protocol
is that of ``tfds_musclemap/importing/pose_process.py``. Joints are MediaPipe's 33 landmarks in pixels of the video as a
player shows it; a joint's score is its visibility.
"""

import argparse
import json
import os
import sys

import av
import mediapipe
import numpy as np

PROTOCOL = 1


def frames(path):
    """Yields a video's uint8 (H, W, 3) RGB frames, rotated as a player shows them, and their times in milliseconds."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        fps = stream.average_rate or stream.guessed_rate
        time_ms = -1
        for number, frame in enumerate(container.decode(stream)):
            image = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
            time_ms = max(round(1000 * number / fps), time_ms + 1)
            yield np.ascontiguousarray(image), time_ms


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
