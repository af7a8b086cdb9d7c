/** What a data type takes, in words. */
import { measured, whole } from "../text/format.ts";
import type { DataType } from "./thing_model.ts";
import { t } from "./text.ts";

/** "−40 to 125 °C"; empty: nothing worth saying. */
export function boundsText(dataType: DataType): string {
  switch (dataType.type) {
    case "int":
    case "float":
    case "double": {
      const { min, max, unit = "" } = dataType.specs ?? {};
      return [rangeText(min, max), unit].filter((part) => part !== "").join(
        " ",
      );
    }
    case "text": {
      const { length } = dataType.specs ?? {};
      return length === undefined ? "" : t("length_max", { max: whole(length) });
    }
    case "array": {
      const { size } = dataType.specs;
      return size === undefined ? "" : t("items_max", { max: whole(size) });
    }
    default:
      return "";
  }
}

function rangeText(min: number | undefined, max: number | undefined): string {
  if (min !== undefined && max !== undefined) {
    return t("range", { min: measured(min), max: measured(max) });
  }
  if (min !== undefined) return t("at_least", { min: measured(min) });
  return max === undefined ? "" : t("at_most", { max: measured(max) });
}
