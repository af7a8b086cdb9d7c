/** Bundles the console with Vite into the folder that is named on the command line. */
import process from "node:process";
import { fileURLToPath } from "node:url";
import vue from "@vitejs/plugin-vue";
import { build } from "vite";

/** Modules of a whole build, roughly: what progress is measured by. */
const MODULES = 2_600;

const [outDir = ""] = process.argv.slice(2);
let modules = 0;

await build({
  root: fileURLToPath(new URL("../", import.meta.url)),
  configFile: false,
  logLevel: "error",
  base: "/",
  define: {
    __VUE_OPTIONS_API__: "false",
    __VUE_PROD_DEVTOOLS__: "false",
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
    __VUE_I18N_LEGACY_API__: "false",
    __INTLIFY_PROD_DEVTOOLS__: "false",
  },
  plugins: [vue(), {
    name: "progress",
    transform() {
      if (++modules % 50 === 0) tell(Math.min(0.9, modules / MODULES));
      return undefined;
    },
    generateBundle: () => tell(0.95),
  }],
  worker: { format: "es" },
  build: {
    outDir,
    emptyOutDir: true,
    target: "es2022",
    // Nothing inline: the policy of the page allows no data: scripts or fonts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 2_000,
  },
});

function tell(progress: number): void {
  process.stdout.write(`progress ${progress.toFixed(2)}\n`);
}
