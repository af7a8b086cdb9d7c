/** What every part of the model editor shares. */
import { computed, type ComputedRef, inject, type InjectionKey, provide } from "vue";
import type { Shape } from "../../../model/model_issues.ts";

export interface Editing {
  readonly isReadonly: ComputedRef<boolean>;
  /** What is wrong, by path. */
  readonly issues: ComputedRef<ReadonlyMap<string, string>>;
}

const KEY: InjectionKey<Editing> = Symbol("editing");

export function provideEditing(editing: Editing): void {
  provide(KEY, editing);
}

export function useEditing(): Editing {
  return inject(KEY)!;
}

/** How many faults are in what has this path, and below. */
export function useFaultCount(path: () => string): ComputedRef<number> {
  const { issues } = useEditing();
  return computed(() => {
    const own = path();
    return [...issues.value.keys()].filter((each) => each === own || each.startsWith(`${own}.`))
      .length;
  });
}

/** A field set, or taken out where it is empty. */
export function withField(shape: Shape, name: string, value: unknown): Shape {
  const { [name]: _before, ...others } = shape;
  return value === undefined || value === "" ? others : { ...shape, [name]: value };
}

/** What is typed as a number: itself, or as it is where it is none. */
export function numberOrText(typed: string): number | string | undefined {
  const text = typed.trim();
  if (text === "") return undefined;
  const number = Number(text);
  return Number.isFinite(number) ? number : text;
}
