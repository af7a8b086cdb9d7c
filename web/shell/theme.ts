/** Dark or light, as chosen or as the system says. `public/theme.js` does the same before the paint. */
import { computed, ref } from "vue";

export type ThemeChoice = "system" | "light" | "dark";

const STORED = "roost.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = ref(system.matches);
const stored = localStorage.getItem(STORED);
const chosen = ref<ThemeChoice>(
  stored === "light" || stored === "dark" ? stored : "system",
);

export const isDark = computed(() =>
  chosen.value === "dark" || (chosen.value === "system" && systemIsDark.value)
);

export const theme = computed({
  get: () => chosen.value,
  set: (choice) => {
    chosen.value = choice;
    if (choice === "system") localStorage.removeItem(STORED);
    else localStorage.setItem(STORED, choice);
    apply();
  },
});

function apply(): void {
  document.documentElement.classList.toggle("dark", isDark.value);
}

system.addEventListener("change", (event) => {
  systemIsDark.value = event.matches;
  apply();
});
apply();
