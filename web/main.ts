import "@fontsource-variable/inter/wght.css";
import "./style/tokens.css";
import "./style/page.css";
import "./style/element.ts";
import { createApp } from "vue";
import { readSession } from "./api/session.ts";
import App from "./app.vue";
import { router } from "./router.ts";
import { i18n } from "./text/i18n.ts";
import { startError } from "./shell/start_error.ts";
import { ApiError } from "./api/problem.ts";

async function start(): Promise<void> {
  try {
    await readSession();
  } catch (fault) {
    if (!(fault instanceof ApiError)) throw fault;
    startError.value = fault;
  }
  const app = createApp(App);
  app.use(i18n).use(router);
  await router.isReady();
  app.mount("#app");
}

void start();
