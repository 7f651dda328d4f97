// Files that programs have made: pictures that are drawn here, and what the user keeps of them.

import { ask } from "../api.js";
import { element } from "../markdown.js";
import { say } from "../view.js";

const LARGEST = 40e6; // pixels: a small file can ask for more than a computer has memory

/** Saves bytes under a name; the browser asks nobody for them. */
function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function fetched(path) {
  return (await ask(path)).blob();
}

/** A button that saves what `get` gives; what went wrong stands behind it. */
function saving(label, name, get) {
  const wrong = element("span", { className: "note error" });
  const button = element("button", { type: "button", className: "chip" }, label);
  button.setAttribute("aria-label", `Download ${name}`);
  button.onclick = async () => {
    wrong.textContent = "";
    try {
      save(await get(), name);
      say(`${name} was saved.`);
    } catch (error) {
      wrong.textContent = error.message;
    }
  };
  return [button, wrong];
}

/** Files of a container as buttons that download them. */
export function fileList(files) {
  const entries = files.map(({ container_id, file_id, filename }) => {
    const path = `v1/containers/${encodeURIComponent(container_id)}/files/${encodeURIComponent(file_id)}/content`;
    return element("li", {}, ...saving(`↓ ${filename}`, filename, () => fetched(path)));
  });
  const made = element("ul", { className: "made" }, ...entries);
  made.setAttribute("aria-label", "Files that were made");
  return made;
}

/** A button that downloads an uploaded file. */
export function uploadedFile(file_id, filename) {
  return saving("Download the file", filename, () => fetched(`v1/files/${encodeURIComponent(file_id)}/content`));
}

/** A picture in a data URL, drawn: so the page's policy need not allow pictures from anywhere but the server. */
export function picture(url, number) {
  const figure = element("figure");
  const label = `Picture ${number} that the program has drawn`;
  if (!url) {
    figure.append(element("p", { className: "help" }, `${label} was too large to be kept in this browser.`));
    return figure;
  }
  const bytes = Uint8Array.from(atob(url.slice(url.indexOf(",") + 1)), (character) => character.charCodeAt(0));
  const size = new DataView(bytes.buffer);
  const [width, height] = bytes.length > 24 ? [size.getUint32(16), size.getUint32(20)] : [0, 0];
  const blob = new Blob([bytes], { type: "image/png" });
  if (width * height > 0 && width * height <= LARGEST) {
    const canvas = element("canvas", { width, height });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
    figure.append(canvas);
    createImageBitmap(blob).then((bitmap) => canvas.getContext("2d").drawImage(bitmap, 0, 0)).catch(() => canvas.replaceWith("This picture cannot be shown."));
  }
  figure.append(element("figcaption", {}, ...saving("↓ Picture", `picture-${number}.png`, async () => blob)));
  return figure;
}
