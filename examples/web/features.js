// VGG16 features with ONNX Runtime Web, of a model that `examples/cut_model.py` wrote.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

const SIZE = 224;
const MEAN_BGR = [103.939, 116.779, 123.68];

// One thread: more need a page that is served with COOP and COEP headers.
ort.env.wasm.numThreads = 1;

// The graph names the file with its weights; the browser can't look for it by itself.
export async function load(model) {
  const weights = `${model.split("/").pop()}.data`;
  return ort.InferenceSession.create(model, {
    executionProviders: ["wasm"],
    externalData: [{ path: weights, data: `${model}.data` }],
  });
}

// The rows or columns that Pillow's NEAREST keeps; the position is a running sum, as in Pillow.
export function nearest(length, wanted) {
  const step = length / wanted;
  const kept = [];
  for (let position = step / 2; kept.length < wanted; position += step) {
    kept.push(Math.floor(position));
  }
  return kept;
}

// ImageData of any size (RGBA, rows from the top) to the network's input, (1, 224, 224, 3):
// nearest neighbours, blue first, minus the means of ImageNet.
export function preprocess(image) {
  const rows = nearest(image.height, SIZE);
  const columns = nearest(image.width, SIZE);
  const input = new Float32Array(SIZE * SIZE * 3);
  let at = 0;
  for (const row of rows) {
    for (const column of columns) {
      const red = 4 * (row * image.width + column);
      for (let channel = 0; channel < 3; channel++) {
        // Both in float32, as NumPy does it.
        input[at++] = image.data[red + 2 - channel] - Math.fround(MEAN_BGR[channel]);
      }
    }
  }
  return new ort.Tensor("float32", input, [1, SIZE, SIZE, 3]);
}

// All outputs of the model: {name: Tensor}, float32, rows, columns, channels.
export async function features(session, image) {
  return session.run({ images: preprocess(image) });
}
