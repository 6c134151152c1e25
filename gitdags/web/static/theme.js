// Before the first paint: the theme that was chosen here, where one was.
try {
  const theme = localStorage.getItem("gitdags-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch { /* storage is off: the system's theme it is */ }
document.documentElement.classList.add("js");
