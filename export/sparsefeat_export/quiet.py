"""TensorFlow without its chatter, on the processor."""

import os


def quiet_tensorflow() -> None:
    """Set what TensorFlow reads when it is first imported.

    On the processor even where there is a GPU: TensorFloat-32 there would make the reference
    less exact than what is compared with it.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
