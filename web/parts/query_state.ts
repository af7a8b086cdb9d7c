/** State of a page that stands in its address, so that it can be shared and survives a reload. */
import { computed, type WritableComputedRef } from "vue";
import { useRoute, useRouter } from "vue-router";

/** The default value does not stand in the address. */
export function useQueryState(name: string, fallback = ""): WritableComputedRef<string> {
  const route = useRoute();
  const router = useRouter();
  return computed({
    get: () => {
      const value = route.query[name];
      return typeof value === "string" ? value : fallback;
    },
    set: (value) => {
      const query = { ...router.currentRoute.value.query };
      if (value === fallback || value === "") delete query[name];
      else query[name] = value;
      void router.replace({ query });
    },
  });
}
