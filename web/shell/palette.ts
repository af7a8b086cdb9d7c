import { ref } from "vue";

export const isPaletteOpen = ref(false);

export function openPalette(): void {
  isPaletteOpen.value = true;
}
