// Collects the microphone's samples, 1200 (50 ms at 24 kHz) at a time.
class Collector extends AudioWorkletProcessor {
  constructor() {
    super();
    this.kept = new Float32Array(1200);
    this.count = 0;
  }

  process([input]) {
    for (const sample of input[0] ?? []) {
      this.kept[this.count++] = sample;
      if (this.count === this.kept.length) {
        this.port.postMessage(this.kept.slice());
        this.count = 0;
      }
    }
    return true;
  }
}
registerProcessor("collector", Collector);
