/** How long history is kept, of each product: what its own setting and the node's come to. */

export interface RetentionPlan {
  /** Everything older is gone, whole UTC days; absent: nothing is, but for single products. */
  readonly days?: number;
  /** Products of which less is kept. */
  readonly products: readonly { readonly product: string; readonly days: number }[];
}

export interface ProductSetting {
  readonly product: string;
  /** Null: the node's. */
  readonly days: number | null;
}

export const KEEP_ALL: RetentionPlan = { products: [] };

/** @param nodeDays The node's setting; undefined: for ever. */
export function retentionPlan(
  nodeDays: number | undefined,
  settings: readonly ProductSetting[],
): RetentionPlan {
  const longest = nodeDays === undefined
    ? undefined
    : settings.reduce((most, { days }) => Math.max(most, days ?? 0), nodeDays);
  const products = settings.flatMap(({ product, days: own }) => {
    const days = own ?? nodeDays;
    const isShorter = days !== undefined && (longest === undefined || days < longest);
    return isShorter ? [{ product, days }] : [];
  });
  return longest === undefined ? { products } : { days: longest, products };
}
