"""Compute one layer of one image with ONNX Runtime, Pillow and NumPy; sparsefeat isn't imported.

python examples/plain_onnxruntime.py demo/vgg16.onnx demo/photos/chelsea.png block5_pool
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

Float32 = npt.NDArray[np.float32]


def preprocessing(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    """Read how the model wants its input: the image's size, and how pixels are scaled."""
    properties = session.get_modelmeta().custom_metadata_map
    recipe: dict[str, Any] = json.loads(properties["sparsefeat"])["preprocessing"]
    return recipe


def nearest(length: int, wanted: int) -> npt.NDArray[np.intp]:
    """Choose the rows or columns that Pillow's NEAREST keeps, for languages without Pillow.

    The position is a running sum in float64, as in Pillow. A product would round differently at a
    few lengths, for example at 320.
    """
    step = length / wanted
    position, kept = step / 2, []
    for _ in range(wanted):
        kept.append(int(position))
        position += step
    return np.array(kept)


def read(path: Path, recipe: dict[str, Any]) -> Float32:
    """Read an image as the model's input, float32 (1, H, W, 3)."""
    height, width = recipe["size"]
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))  # uint8 (rows, columns, 3), red first
    rows, columns = nearest(pixels.shape[0], height), nearest(pixels.shape[1], width)
    resized = pixels[rows[:, np.newaxis], columns]

    scaling = recipe["scaling"]
    if scaling["channel_order"] == "BGR":
        resized = resized[..., ::-1]
    scaled = resized.astype(np.float32) / np.float32(scaling["divisor"])
    scaled -= np.array(scaling["mean"], np.float32)
    scaled /= np.array(scaling["std"], np.float32)
    return scaled[np.newaxis]


def main() -> None:
    """Print the shape of a layer's output and its share of zeros; optionally save it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model", type=Path, help="what `sparsefeat export` made")
    parser.add_argument("image", type=Path)
    parser.add_argument("layer", help="name of an output, such as block5_pool")
    parser.add_argument("-o", "--output", type=Path, help="write the array to this .npy file")
    given = parser.parse_args()

    # The weights lie in a second file beside the model, which ONNX Runtime finds by itself.
    session = onnxruntime.InferenceSession(given.model, providers=["CPUExecutionProvider"])
    images = read(given.image, preprocessing(session))
    (output,) = session.run([given.layer], {"images": images})
    print(f"{given.layer}: {output.dtype} {output.shape}, {np.mean(output == 0):.1%} zeros")
    if given.output is not None:
        np.save(given.output, output)


if __name__ == "__main__":
    main()
