// A picture for others' eyes: faces are blurred here, before it leaves the page. The network is CenterFace, by WebAssembly.

const SIDE = 800; // pixels of the longer side that the network sees; its sizes are multiples of STEP
const STEP = 32;
const LEAST = 0.2; // score from which something counts as a face
const OVERLAP = 0.3;
const MARGIN = 1.3; // so much larger than the face is what is blurred
const CELLS = 4; // a face keeps so many blocks of colour on each side
const LONGEST = 1280; // pixels of the longer side of what is sent

let network;

/** Fetch what finds faces; throws where it cannot be had. */
export function prepare() {
  network ??= load().catch((error) => { network = undefined; throw error; });
  return network;
}

async function load() {
  const [ort, wasm] = await Promise.all([import("./vision/ort.mjs"), bytes("vision/ort.wasm")]);
  ort.env.logLevel = "error";
  Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: wasm });
  return { ort, session: await ort.InferenceSession.create(await bytes("vision/faces.onnx")) };
}

async function bytes(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error((await answer.json()).error?.message ?? answer.statusText);
  return new Uint8Array(await answer.arrayBuffer());
}

/** What a video shows now as a canvas, with every face that is found blurred, and how many there were. */
export async function blurred(view) {
  const scale = Math.min(1, LONGEST / Math.max(view.videoWidth, view.videoHeight));
  const canvas = new OffscreenCanvas(Math.round(view.videoWidth * scale), Math.round(view.videoHeight * scale));
  canvas.getContext("2d").drawImage(view, 0, 0, canvas.width, canvas.height);
  const found = await faces(canvas);
  found.forEach((box) => blur(canvas, box));
  return { canvas, faces: found.length };
}

/** Faces of a canvas as [left, top, right, bottom, score] in its pixels. */
async function faces(canvas) {
  const { ort, session } = await prepare();
  const scale = SIDE / Math.max(canvas.width, canvas.height);
  const [width, height] = [canvas.width, canvas.height].map((side) => Math.max(STEP, Math.round(side * scale / STEP) * STEP));
  const small = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  small.drawImage(canvas, 0, 0, width, height);
  const { data } = small.getImageData(0, 0, width, height);
  const planes = new Float32Array(3 * width * height);
  for (let at = 0; at < width * height; at++) for (let c = 0; c < 3; c++) planes[c * width * height + at] = data[at * 4 + c];
  const maps = await session.run({ "input.1": new ort.Tensor("float32", planes, [1, 3, height, width]) });
  const [x, y] = [canvas.width / width, canvas.height / height];
  return decoded(maps, width / 4, height / 4).map(([l, t, r, b, s]) => [l * x, t * y, r * x, b * y, s]);
}

function decoded(maps, width, height) {
  const [score, size, offset] = ["537", "538", "539"].map((name) => maps[name].data);
  const plane = width * height;
  const boxes = [];
  for (let at = 0; at < plane; at++) {
    if (score[at] <= LEAST) continue;
    const [high, wide] = [Math.exp(size[at]) * 4, Math.exp(size[plane + at]) * 4];
    const top = (Math.floor(at / width) + offset[at] + 0.5) * 4 - high / 2;
    const left = (at % width + offset[plane + at] + 0.5) * 4 - wide / 2;
    boxes.push([left, top, left + wide, top + high, score[at]]);
  }
  boxes.sort((a, b) => b[4] - a[4]);
  return boxes.reduce((kept, box) => (kept.every((other) => overlap(box, other) < OVERLAP) ? [...kept, box] : kept), []);
}

function overlap(a, b) {
  const sides = [0, 1].map((axis) => Math.max(0, Math.min(a[axis + 2], b[axis + 2]) - Math.max(a[axis], b[axis])));
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return sides[0] * sides[1] / (area(a) + area(b) - sides[0] * sides[1]);
}

function blur(canvas, [left, top, right, bottom]) {
  const [wide, high] = [(right - left) * MARGIN, (bottom - top) * MARGIN];
  const [x, y] = [(left + right - wide) / 2, (top + bottom - high) / 2];
  const rough = new OffscreenCanvas(CELLS, CELLS).getContext("2d");
  rough.imageSmoothingQuality = "high";
  rough.drawImage(canvas, x, y, wide, high, 0, 0, CELLS, CELLS);
  const context = canvas.getContext("2d");
  context.save();
  context.beginPath();
  context.ellipse(x + wide / 2, y + high / 2, wide / 2, high / 2, 0, 0, 2 * Math.PI);
  context.clip();
  context.drawImage(rough.canvas, 0, 0, CELLS, CELLS, x, y, wide, high);
  context.restore();
}

/** A canvas as the data URL of a JPEG. */
export async function encoded(canvas) {
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
