/**
 * Largest-Triangle-Three-Buckets (Sveinn Steinarsson, 2013): keeps the points that shape a line.
 * The first and the last point stay; each bucket in between gives the one that spans the largest
 * triangle with the point chosen before it and the mean of the next bucket.
 */

/**
 * Indices of the points that are kept, rising; all of them if there are at most `count`.
 * @param ats Rising times; only the first `length` count, in both arrays.
 * @param values Finite.
 * @param count At least 3.
 */
export function thinIndices(
  ats: ArrayLike<number>,
  values: ArrayLike<number>,
  length: number,
  count: number,
): number[] {
  if (length <= count) return Array.from({ length }, (_, i) => i);
  const width = (length - 2) / (count - 2);
  const kept = [0];
  let chosen = 0;
  let from = 1;
  for (let bucket = 0; bucket < count - 2; bucket++) {
    const to = bucket === count - 3 ? length - 1 : Math.floor((bucket + 1) * width) + 1;
    const nextTo = bucket === count - 3
      ? length
      : Math.min(Math.floor((bucket + 2) * width) + 1, length - 1);
    let meanAt = 0;
    let meanValue = 0;
    for (let i = to; i < nextTo; i++) {
      meanAt += ats[i]! - ats[0]!;
      meanValue += values[i]!;
    }
    meanAt = meanAt / (nextTo - to) + ats[0]!;
    meanValue /= nextTo - to;
    chosen = largestTriangle(ats, values, from, to, chosen, meanAt, meanValue);
    kept.push(chosen);
    from = to;
  }
  kept.push(length - 1);
  return kept;
}

function largestTriangle(
  ats: ArrayLike<number>,
  values: ArrayLike<number>,
  from: number,
  to: number,
  before: number,
  meanAt: number,
  meanValue: number,
): number {
  const beforeAt = ats[before]!;
  const beforeValue = values[before]!;
  let largest = -1;
  let best = from;
  for (let i = from; i < to; i++) {
    const area = Math.abs(
      (beforeAt - meanAt) * (values[i]! - beforeValue) -
        (beforeAt - ats[i]!) * (meanValue - beforeValue),
    );
    if (area > largest) {
      largest = area;
      best = i;
    }
  }
  return best;
}
