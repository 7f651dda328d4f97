// The page as a pair of glasses: what its buttons do, and what is written beneath.

import { blurred, encoded, prepare } from "./faces.js";
import { closeSensor, openSensor, pass } from "./light.js";
import { Session } from "./session.js";
import { Speaker, startMicrophone, stopMicrophone } from "./sound.js";

const find = (id) => document.getElementById(id);
const speaker = new Speaker();
const captions = new Map();
const DEAF = 100; // pieces of 50 ms without a sound after which the wearer is told
const SETTINGS = { type: "realtime", audio: { input: { transcription: {} } } };
const QUESTION = "Look and tell me what you see.";
let silent = 0;
let basis = 0;
let grounded = ""; // what the answer under way rests on, which is shown below it
let asked = false; // whether to look as soon as the server is there
let talking = false;
let ready = false;
let enrolling = false; // whether the wearer's voice is to be known

function tell(text) {
  find("state").textContent = text;
}

function caption(item, who) {
  if (!captions.has(item)) {
    const line = document.createElement("p");
    line.className = who;
    find("captions").append(line);
    captions.set(item, line);
    line.scrollIntoView({ block: "end" });
  }
  return captions.get(item);
}

function interrupt() {
  const heard = speaker.stop();
  if (!heard) return; // what has been played to its end was heard
  session.send("conversation.item.truncate", { item_id: heard.item, content_index: 0, audio_end_ms: heard.milliseconds });
}

const handlers = {
  "session.updated": () => {
    ready = true;
    session.send("x.camera", { on: cameraOn() });
    session.send("x.echo_cancellation", { on: false }); // the browser cancels it (light.js)
    if (enrolling) session.send("x.enrol", { on: true });
    if (asked) {
      asked = false;
      look(QUESTION);
    }
  },
  "x.closed": () => { ready = false; speaker.stop(); },
  "input_audio_buffer.speech_started": () => interrupt(),
  // The question's line stands above its answer's, whichever words come first.
  "input_audio_buffer.committed": ({ item_id }) => caption(item_id, "wearer"),
  "x.input_audio_transcription.partial": ({ item_id, text }) => {
    const line = caption(item_id, "wearer");
    line.classList.add("partial");
    line.textContent = text;
  },
  "conversation.item.input_audio_transcription.completed": ({ item_id, transcript }) => {
    const line = caption(item_id, "wearer");
    line.classList.remove("partial");
    line.textContent = transcript || "(no words)";
  },
  "response.output_audio_transcript.delta": ({ item_id, delta }) => { caption(item_id, "glasses").textContent += delta; },
  "response.output_audio.delta": ({ item_id, delta }) => speaker.play(item_id, delta),
  "conversation.item.truncated": ({ item_id }) => session.send("conversation.item.retrieve", { item_id }),
  "conversation.item.retrieved": ({ item }) => {
    const line = captions.get(item.id);
    const said = item.content?.[0]?.transcript ?? "";
    if (!line) return;
    const lost = document.createElement("span");
    lost.className = "unheard";
    lost.textContent = line.textContent.slice(said.length);
    line.replaceChildren(said, lost);
  },
  "response.done": ({ response }) => {
    if (grounded) caption(`basis ${basis++}`, "basis").textContent = grounded;
    grounded = "";
    if (response.status === "failed") tell(response.status_details.error.message);
  },
  "conversation.item.input_audio_transcription.failed": ({ error }) => tell(error.message),
  "x.input_audio.problem": ({ message }) => tell(message || "the microphone is well again"),
  "x.look": () => look(),
  "x.seen": ({ item_id, statements, faces_blurred }) => {
    const lines = statements.filter(({ kind }) => kind === "writing").length;
    caption(item_id, "picture").textContent =
      `a picture was sent: ${lines} ${lines === 1 ? "line" : "lines"} of writing${faces_blurred ? `, ${faces_blurred} faces blurred on arrival` : ""}`;
  },
  "x.grounded": ({ rests_on }) => {
    const told = rests_on.map(({ kind, what, confidence, source }) =>
      kind === "guess" ? source : `${kind === "writing" ? `“${what}”` : what} (${Math.round(confidence * 100)} %)`,
    );
    grounded = told.length ? `rests on ${told.join(", ")}` : "nothing seen supports an answer";
  },
  "x.assistant": ({ step }) => {
    if (step.kind === "called") caption(`step ${basis++}`, "basis").textContent = `→ ${step.name}(${Object.values(step.arguments).join(", ")})`;
    if (step.kind === "decided" && !step.allowed) caption(`step ${basis++}`, "basis").textContent = `not done: ${step.why}`;
  },
  "x.wake": ({ phrase, awake }) => tell(awake ? "" : `not for the glasses: say “${phrase}” first`),
  "x.translation": ({ item_id, translation, target }) => {
    const line = caption(`translation of ${item_id}`, "translation");
    line.lang = target;
    line.textContent = translation;
  },
  "x.wearer": ({ enrolled, known }) => {
    find("voice").hidden = false;
    if (!enrolled) tell("nobody is answered before you have pressed “My voice” and said a few sentences");
    else if (known !== null) tell(known ? "" : "another voice: not for the glasses");
  },
  "x.enrol": ({ sentences, seconds, sentences_needed, seconds_needed, done }) => {
    enrolling = enrolling && !done;
    tell(done ? "your voice is known now; it is kept on the glasses' machine alone"
      : `say a few sentences: ${sentences} of ${sentences_needed}, ${Math.round(seconds)} of ${seconds_needed} seconds`);
  },
  "x.consent": ({ given }) => tell(given ? "somebody said yes: listening" : "waiting for a yes"),
  error: ({ error }) => tell(error.message),
};

const session = new Session((event) => handlers[event.type]?.(event), tell);

function hear(audio, loudness) {
  silent = loudness > 0.0001 ? 0 : silent + 1;
  if (silent === DEAF) tell("the microphone gives silence: is it muted?");
  if (ready) session.send("input_audio_buffer.append", { audio });
}

async function capture() {
  try {
    await startMicrophone(hear);
    return true;
  } catch (error) {
    tell(error.name === "NotAllowedError" ? "the microphone is not allowed: allow it in the browser's settings"
      : `the microphone cannot be opened (${error.message})`);
    return false;
  }
}

const press = (button, on) => button.setAttribute("aria-pressed", String(on));

find("listen").onclick = async ({ currentTarget }) => {
  if (currentTarget.getAttribute("aria-pressed") === "true") {
    press(currentTarget, false);
    stopMicrophone();
    session.close();
  } else if (await capture()) {
    press(currentTarget, true);
    session.open({ ...SETTINGS, audio: { input: { ...SETTINGS.audio.input, turn_detection: { type: "semantic_vad" } } } });
  }
};

async function talk() {
  if (talking || find("listen").getAttribute("aria-pressed") === "true") return;
  talking = true;
  find("talk").classList.add("held");
  interrupt();
  session.open({ ...SETTINGS, audio: { input: { ...SETTINGS.audio.input, turn_detection: null } } });
  if (!await capture()) talking = false;
  else if (!talking) stopMicrophone(); // let go while the browser asked
}

function letGo() {
  find("talk").classList.remove("held");
  if (!talking) return;
  talking = false;
  stopMicrophone();
  session.send("input_audio_buffer.commit");
  session.send("response.create");
}

find("talk").onpointerdown = talk;
find("talk").onpointerup = find("talk").onpointercancel = find("talk").onpointerleave = letGo;
find("talk").onkeydown = ({ key, repeat }) => { if (key === " " && !repeat) talk(); };
find("talk").onkeyup = ({ key }) => { if (key === " ") letGo(); };

const cameraOn = () => find("camera").getAttribute("aria-pressed") === "true";

/** Send what the camera shows, faces blurred, with a question or as the answer to one that was asked aloud. */
async function look(question) {
  if (!cameraOn()) return tell("the camera is off");
  try {
    const { canvas, faces } = await blurred(find("view"));
    const picture = await encoded(canvas);
    pass("camera", picture, (image_url) => {
      const text = question ? [{ type: "input_text", text: question }] : [];
      const content = [{ type: "input_image", image_url }, ...text];
      session.send("conversation.item.create", { item: { type: "message", role: "user", content } });
      if (question) session.send("response.create");
      tell(`a picture was sent, with ${faces} ${faces === 1 ? "face" : "faces"} blurred`);
    });
  } catch (error) {
    tell(`no picture leaves the page, since faces cannot be blurred (${error.message})`);
  }
}

find("look").onclick = () => {
  if (!cameraOn()) return tell("turn the camera on first");
  interrupt();
  if (ready) return look(QUESTION);
  asked = true;
  session.open({ ...SETTINGS, audio: { input: { ...SETTINGS.audio.input, turn_detection: null } } });
};

find("camera").onclick = async ({ currentTarget: button }) => { // which an event forgets while one waits
  const view = find("view");
  if (cameraOn()) {
    press(button, false);
    closeSensor("camera");
    session.send("x.camera", { on: false });
    view.srcObject = null;
    view.hidden = true;
    return;
  }
  try {
    view.srcObject = await openSensor("camera");
    view.hidden = false;
    await view.play();
    press(button, true);
    session.send("x.camera", { on: true });
    watch(view);
    await prepare().catch((error) => tell(`faces cannot be blurred, so no picture can be sent (${error.message})`));
  } catch (error) {
    closeSensor("camera");
    tell(error.name === "NotAllowedError" ? "the camera is not allowed: allow it in the browser's settings"
      : `the camera cannot be opened (${error.message})`);
  }
};

function watch(view) {
  let last = view.currentTime;
  const timer = setInterval(() => {
    if (view.hidden) return clearInterval(timer);
    if (view.currentTime === last) tell("the camera has stopped");
    last = view.currentTime;
  }, 3000);
}

find("voice").onclick = () => {
  if (find("listen").getAttribute("aria-pressed") !== "true") return tell("press “Listen” first, then “My voice”");
  enrolling = true;
  session.send("x.enrol", { on: true });
};

find("forget").onclick = () => {
  speaker.stop();
  captions.clear();
  find("captions").replaceChildren();
  session.close();
  stopMicrophone();
  press(find("listen"), false);
  tell("forgotten: nothing was kept");
};
