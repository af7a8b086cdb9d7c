/** Paths to pages. A page's code and words are loaded when it is first opened. */
import { watch } from "vue";
import { createRouter, createWebHistory } from "vue-router";
import { session } from "./api/session.ts";
import { PAGES } from "./pages/pages.ts";
import { tShell } from "./shell/text.ts";
import { language } from "./text/i18n.ts";

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    ...PAGES.map((page) => ({
      name: page.id,
      path: page.path,
      component: page.load,
      meta: { page },
    })),
    {
      name: "login",
      path: "/login",
      component: () => import("./pages/login/login_page.vue"),
      meta: { isBare: true },
    },
    {
      name: "missing",
      path: "/:path(.*)*",
      component: () => import("./pages/missing_page.vue"),
    },
  ],
  scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
});

router.beforeEach((to) => {
  if (session.value === undefined && to.name !== "login") {
    const back = to.fullPath === "/" ? {} : { back: to.fullPath };
    return { name: "login", query: back };
  }
  if (session.value !== undefined && to.name === "login") {
    return { name: "overview" };
  }
  return true;
});

/** A session that ends leads to the log-in page, and back from there. */
watch(session, (now, before) => {
  if (now !== undefined || before === undefined) return;
  const back = router.currentRoute.value.fullPath;
  void router.replace({ name: "login", query: back === "/" ? {} : { back } });
});

watch([router.currentRoute, language], ([route]) => {
  const title = route.meta.page?.title;
  const name = tShell("name");
  document.title = title === undefined ? name : `${tShell(title)} · ${name}`;
});
