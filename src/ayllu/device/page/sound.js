// Sound in and out at 24 kHz: the microphone's samples as base64 of pcm16, and what arrives played one piece after the other.

import { closeSensor, openSensor, pass } from "./light.js";

export const RATE = 24000;

let context;
let source;
let node;

async function audio() {
  if (!context) {
    context = new AudioContext({ sampleRate: RATE });
    await context.audioWorklet.addModule(new URL("./microphone-worklet.js", import.meta.url));
  }
  await context.resume();
  return context;
}

function base64(samples) {
  const bytes = new Uint8Array(samples.length * 2);
  const view = new DataView(bytes.buffer);
  samples.forEach((sample, at) => view.setInt16(at * 2, Math.max(-1, Math.min(1, sample)) * 32767, true));
  return btoa(String.fromCharCode(...bytes));
}

/** Give `on` each 50 ms of the microphone, and how loud they are, until `stopMicrophone`. */
export async function startMicrophone(on) {
  const running = await audio();
  const stream = await openSensor("microphone");
  if (!stream || source) return;
  source = running.createMediaStreamSource(stream);
  node = new AudioWorkletNode(running, "collector", { numberOfOutputs: 0, channelCount: 1 });
  node.port.onmessage = ({ data }) => pass("microphone", data, (samples) => {
    on(base64(samples), samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0));
  });
  source.connect(node);
}

export function stopMicrophone() {
  if (node) node.port.onmessage = null;
  source?.disconnect();
  node = source = undefined;
  closeSensor("microphone");
}

/** Plays the pieces of one answer at a time, and knows how much of it has been heard. */
export class Speaker {
  constructor() {
    this.item = null;
    this.sources = new Set();
    this.start = this.end = 0;
  }

  async play(item, delta) {
    const running = await audio();
    const bytes = Uint8Array.from(atob(delta), (sign) => sign.charCodeAt(0));
    const values = new Int16Array(bytes.buffer);
    const buffer = running.createBuffer(1, values.length, RATE);
    buffer.getChannelData(0).set(Float32Array.from(values, (value) => value / 32768));
    const now = running.currentTime + 0.02;
    if (item !== this.item) {
      this.item = item;
      this.start = this.end = Math.max(now, this.end);
    } else if (this.end < now) { // it ran dry: the time of waiting is not time of the answer
      this.start += now - this.end;
      this.end = now;
    }
    const player = running.createBufferSource();
    player.buffer = buffer;
    player.connect(running.destination);
    player.onended = () => this.sources.delete(player);
    player.start(this.end);
    this.end += buffer.duration;
    this.sources.add(player);
  }

  get playing() {
    return context !== undefined && context.currentTime < this.end;
  }

  /** Stop; gives the item and the milliseconds of it that were heard, or null where it had been played to its end. */
  stop() {
    if (!this.playing) return null;
    const heard = { item: this.item, milliseconds: Math.max(0, Math.round((context.currentTime - this.start) * 1000)) };
    this.sources.forEach((player) => { player.onended = null; player.stop(); });
    this.sources.clear();
    this.end = context.currentTime;
    return heard;
  }
}
