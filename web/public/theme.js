// Before the first paint, so that no wrong theme flashes. Kept in step with shell/theme.ts.
const chosen = localStorage.getItem("roost.theme");
const isDark = chosen === "dark" ||
  (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.classList.toggle("dark", isDark);
