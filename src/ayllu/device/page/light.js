// The only place that opens a sensor. The light is lit before a sensor opens and goes out after it has closed, and what
// a sensor gives passes through here: where the light is out, nothing passes.

const open = new Map();

function show(kinds) {
  const light = document.getElementById("light");
  light.dataset.on = String(kinds.length > 0);
  document.getElementById("light-text").textContent = kinds.length ? `${kinds.join(" and ")} on` : "nothing is captured";
}

/** Whether the light is lit, as whoever looks at the page sees it. */
export function lit() {
  return document.getElementById("light").dataset.on === "true";
}

/** Open "microphone" or "camera"; gives its stream, with the light lit. Throws what the browser says where it cannot. */
export async function openSensor(kind) {
  if (open.has(kind)) return open.get(kind);
  open.set(kind, null);
  show([...open.keys()]);
  const wanted = kind === "microphone"
    ? { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 } }
    : { video: { facingMode: "environment", width: { ideal: 1280 } } };
  try {
    const stream = await navigator.mediaDevices.getUserMedia(wanted);
    if (!open.has(kind)) { // closed while the browser asked
      stream.getTracks().forEach((track) => track.stop());
      return null;
    }
    open.set(kind, stream);
    return stream;
  } catch (error) {
    open.delete(kind);
    show([...open.keys()]);
    throw error;
  }
}

/** Close a sensor; the light goes out with the last one. */
export function closeSensor(kind) {
  open.get(kind)?.getTracks().forEach((track) => track.stop());
  open.delete(kind);
  show([...open.keys()]);
}

/** Let something pass that a sensor gave: nothing does where the light is out or the sensor is closed. */
export function pass(kind, data, on) {
  if (lit() && open.get(kind)) on(data);
}
