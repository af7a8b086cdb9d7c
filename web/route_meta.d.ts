import type { Page } from "./pages/pages.ts";

declare module "vue-router" {
  interface RouteMeta {
    /** Absent on pages outside the navigation's list. */
    page?: Page;
    /** Shown without the frame. */
    isBare?: boolean;
  }
}
