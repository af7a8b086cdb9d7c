/** Views that are loaded when they are opened. */
import { type Component, defineAsyncComponent } from "vue";
import SkeletonView from "./skeleton_view.vue";
import UnloadedView from "./unloaded_view.vue";

const SKELETON_MS = 100;

export function loadedView(loader: () => Promise<{ default: Component }>): Component {
  return defineAsyncComponent({
    loader,
    loadingComponent: SkeletonView,
    delay: SKELETON_MS,
    errorComponent: UnloadedView,
  });
}
