// The key of a server that asks for one: typed in once, kept in this browser, sent with every request.

const KEPT = "ayllu.key";
const $ = (id) => document.getElementById(id);
let given = null; // for this page, where the browser keeps nothing
let asked = null; // the question that is open, for all who wait for its answer

/** The headers that show the key, where there is one. */
export function headers() {
  const key = given ?? kept();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Asks for a key, and says why; whether one was given. */
export function askForKey(why) {
  asked ??= new Promise((resolve) => {
    const dialog = $("key");
    $("key-why").textContent = why;
    $("key-text").value = "";
    dialog.addEventListener(
      "close",
      () => {
        asked = null;
        const key = $("key-text").value.trim();
        const used = dialog.returnValue === "use" && key !== "";
        if (used) keep(key);
        resolve(used);
      },
      { once: true },
    );
    dialog.returnValue = "";
    dialog.showModal();
  });
  return asked;
}

function keep(key) {
  given = key;
  try {
    localStorage.setItem(KEPT, key);
  } catch {
    // a browser that keeps nothing asks again after the next loading
  }
}

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}
