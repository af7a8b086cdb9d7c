/** Pages as tests and screenshots visit them. */

export interface Visit {
  /** For file names. */
  readonly name: string;
  readonly path: string;
  /** What is there when the page has its values. */
  readonly ready: string;
}

/** Pages of a node that has nothing in it yet. */
export const BASE_PAGES: readonly Visit[] = [
  { name: "overview", path: "/", ready: ".ledger" },
  { name: "missing", path: "/no/such/page", ready: ".empty" },
];
