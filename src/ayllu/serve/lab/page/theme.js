// Runs before the first paint, so that a chosen theme does not flash: that is why this is no module.
try {
  const theme = localStorage.getItem("ayllu.lab.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is off: the system's theme it is.
}
