// Runs before the first paint, so that a chosen theme does not flash: that is why this is no module.
try {
  const theme = JSON.parse(localStorage.getItem("ayllu.settings") ?? "{}").theme;
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is off or holds something else: the system's theme it is.
}
