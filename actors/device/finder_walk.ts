/** A walk along one index, in slices. Positions are of the order that it was made for. */
import { DEVICE_LIMITS } from "../../runtime/device_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Position } from "./finder_order.ts";

/** How much is looked at in one go; see the limits of these names. */
export interface FinderBounds {
  readonly sliceRows: number;
  readonly chunkKeys: number;
  readonly narrowKeys: number;
  readonly sourceKeys: number;
  readonly walkRows: number;
  readonly pageMs: number;
  readonly turnMs: number;
}

export const FINDER_BOUNDS: FinderBounds = {
  sliceRows: LIMITS.searchSliceRows,
  chunkKeys: DEVICE_LIMITS.searchChunkKeys,
  narrowKeys: DEVICE_LIMITS.searchNarrowKeys,
  sourceKeys: DEVICE_LIMITS.searchSourceKeys,
  walkRows: DEVICE_LIMITS.searchWalkRows,
  pageMs: LIMITS.searchMsMax,
  turnMs: DEVICE_LIMITS.searchTurnMs,
};

export interface Candidate {
  /** `{product}/{device}`. */
  readonly key: string;
  readonly position: Position;
}

export interface Walk {
  /** Rows of a slice may be left out by the walk itself: its slices need an end. */
  readonly isFiltered: boolean;
  /** The last row of a full slice, of `sliceRows`; undefined if it is the last one. */
  end(after: Position | undefined): Position | undefined;
  /** What the walk does not leave out, in order. */
  read(
    after: Position | undefined,
    end: Position | undefined,
    limit: number,
  ): readonly Candidate[];
  /** Up to where a caller may be told that it was looked; undefined: nowhere in this slice. */
  toldEnd(after: Position | undefined, end: Position): Position | undefined;
}
