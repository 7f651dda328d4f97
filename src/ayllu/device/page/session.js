// The connection: OpenAI's Realtime protocol, opened again whenever it breaks.

const LONGEST = 8000;

export class Session {
  /** `on` takes each event of the server; `state` takes what to tell the wearer. */
  constructor(on, state) {
    Object.assign(this, { on, state, wait: 500, wanted: false, settings: null, items: new Map() });
  }

  open(settings) {
    this.settings = settings;
    this.wanted = true;
    if (!this.socket) this.connect();
    else this.send("session.update", { session: settings });
  }

  connect() {
    const address = new URL("v1/realtime", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    const key = new URLSearchParams(location.hash.slice(1)).get("key");
    const socket = new WebSocket(address, key ? ["realtime", `openai-insecure-api-key.${key}`] : ["realtime"]);
    this.socket = socket;
    this.state("connecting");
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "session.created") {
        this.wait = 500;
        this.state(`connected · model: ${event.session.model}`);
        this.send("session.update", { session: this.settings });
        this.restore();
      }
      this.remember(event);
      this.on(event);
    };
    socket.onclose = () => {
      this.socket = null;
      this.on({ type: "x.closed" });
      if (!this.wanted) return this.state("not connected");
      this.state("the connection broke; trying again");
      setTimeout(() => this.wanted && !this.socket && this.connect(), this.wait);
      this.wait = Math.min(LONGEST, this.wait * 2);
    };
  }

  /** Keep the words of what the server has acknowledged, for as long as the wearer wants the session.
   *  An item takes its place when it is done: the words of a question may come after those of the answer. */
  remember({ type, item, item_id, transcript }) {
    if (type === "conversation.item.input_audio_transcription.completed") {
      this.items.set(item_id, { role: "user", text: transcript });
    } else if ((type === "conversation.item.done" || type === "conversation.item.retrieved") && item.type === "message") {
      const text = item.content.map((part) => part.text ?? part.transcript ?? "").join(" ").trim();
      this.items.set(item.id, { role: item.role, text });
    }
  }

  /** Tell a server that knows nothing of it what was said before the connection broke. */
  restore() {
    for (const [id, { role, text }] of this.items) {
      if (!text) continue;
      const content = [{ type: role === "assistant" ? "output_text" : "input_text", text }];
      this.send("conversation.item.create", { item: { id, type: "message", role, content } });
    }
  }

  send(type, fields = {}) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, ...fields }));
  }

  close() {
    this.wanted = false;
    this.items.clear();
    this.socket?.close();
  }
}
