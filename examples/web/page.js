// The page: takes an image, shows what `features.js` gives, and offers the values as a file.

import { features, load, nearest } from "./features.js";

const status = document.querySelector("#status");
const input = document.querySelector("input");
const canvas = document.querySelector("canvas");
const table = document.querySelector("table");

// Without colour management, which would change the pixels of files with a profile.
const DECODING = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

async function pixels(file) {
  const bitmap = await createImageBitmap(file, DECODING);
  const drawing = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  drawing.drawImage(bitmap, 0, 0);
  return drawing.getImageData(0, 0, bitmap.width, bitmap.height);
}

function show(image) {
  const shown = new ImageData(canvas.width, canvas.height);
  const columns = nearest(image.width, canvas.width);
  const words = new Uint32Array(image.data.buffer);
  const target = new Uint32Array(shown.data.buffer);
  nearest(image.height, canvas.height).forEach((row, y) =>
    columns.forEach((column, x) => {
      target[y * canvas.width + x] = words[row * image.width + column];
    }),
  );
  canvas.getContext("2d").putImageData(shown, 0, 0);
}

function line(name, tensor) {
  const zeros = tensor.data.filter((value) => value === 0).length / tensor.data.length;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([tensor.data]));
  link.download = `${name}.f32`;
  link.textContent = "float32, little-endian";
  const row = table.tBodies[0].insertRow();
  for (const text of [name, tensor.dims.join(" x "), `${(100 * zeros).toFixed(1)} %`]) {
    row.insertCell().textContent = text;
  }
  row.insertCell().append(link);
}

try {
  const model = new URLSearchParams(location.search).get("model") ?? "model.onnx";
  const session = await load(model);
  input.disabled = false;
  status.textContent = `${model}: ${session.outputNames.join(", ")}`;
  input.addEventListener("change", async () => {
    status.textContent = "Running ...";
    try {
      const image = await pixels(input.files[0]);
      show(image);
      const start = performance.now();
      const outputs = await features(session, image);
      const milliseconds = Math.round(performance.now() - start);
      table.tBodies[0].replaceChildren();
      table.hidden = false;
      Object.entries(outputs).forEach(([name, tensor]) => line(name, tensor));
      status.textContent = `${input.files[0].name}: ${milliseconds} ms`;
    } catch (error) {
      status.textContent = `This image can't be used: ${error.message}`;
    }
  });
} catch (error) {
  status.textContent = `The model can't be loaded: ${error.message}`;
}
