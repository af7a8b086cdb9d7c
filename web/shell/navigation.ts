/** What the navigation and the palette show, and how wide the navigation is. */
import { computed, ref } from "vue";
import { mayAs } from "../api/session.ts";
import { GROUPS, PAGES } from "../pages/pages.ts";

const STORED = "roost.navigation";
const narrow = matchMedia("(max-width: 767px)");

export const isPhone = ref(narrow.matches);
export const isDrawerOpen = ref(false);
const collapsed = ref(localStorage.getItem(STORED) === "collapsed");

narrow.addEventListener("change", (event) => {
  isPhone.value = event.matches;
  isDrawerOpen.value = false;
});

export const isCollapsed = computed({
  get: () => collapsed.value && !isPhone.value,
  set: (value) => {
    collapsed.value = value;
    localStorage.setItem(STORED, value ? "collapsed" : "open");
  },
});

/** Pages of the navigation that the person may see, by group; groups without any are left out. */
export const navigation = computed(() =>
  GROUPS.map((group) => ({
    group,
    pages: PAGES.filter((page) => page.nav?.group === group && mayAs(page.role ?? "viewer")),
  })).filter(({ pages }) => pages.length > 0)
);
