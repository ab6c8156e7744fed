"""Reads images with Keras, in a separate process, because Keras takes six seconds to import.

Reads pickled ``(path, (height, width))`` from standard input and answers each with what
``load_img``, ``img_to_array`` and ``preprocess_input`` make of it: float32, or the error's text.
"""

import os
import pickle
import sys
import warnings

from sparsefeat_export.dependencies import hide_unneeded


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # TensorFlow may print to standard output, which is only for answers
    hide_unneeded()
    from keras.applications.vgg16 import preprocess_input
    from keras.utils import img_to_array, load_img

    warnings.simplefilter("ignore")
    while True:
        try:
            path, size = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = preprocess_input(img_to_array(load_img(path, target_size=size)))
        except Exception as exc:
            answer = f"{type(exc).__name__}: {exc}"
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
