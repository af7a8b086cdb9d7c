/** A list of the API, page by page: what was read so far, and more as it is needed. */
import { computed, type ComputedRef, onScopeDispose, type Ref, shallowRef, watch } from "vue";
import { after } from "../clock.ts";
import { ApiError } from "./problem.ts";

export interface Page<Row> {
  readonly items: readonly Row[];
  readonly nextCursor: string | null;
  /** Null: too many to count. */
  readonly count?: number | null | undefined;
}

export interface PagedList<Row> {
  readonly items: Ref<readonly Row[]>;
  /** All that match, as counted when the list was read; undefined: not known. */
  readonly count: Ref<number | undefined>;
  readonly error: Ref<ApiError | undefined>;
  readonly isReading: Ref<boolean>;
  /** Nothing was read yet with these filters. */
  readonly isFirst: ComputedRef<boolean>;
  readonly hasMore: ComputedRef<boolean>;
  more(): Promise<void>;
  /** From the start; what is shown stays until the first page is there. */
  reload(): Promise<void>;
  /** Changes a row in place; no-op if it is not there. */
  patch(key: string, change: (row: Row) => Row): void;
}

export interface PagedOptions<Row, Query> {
  /** Filters and sort; a change reads from the start. */
  readonly query: () => Query;
  readonly read: (
    query: Query,
    page: { readonly cursor: string | undefined; readonly count: boolean },
    signal: AbortSignal,
  ) => Promise<Page<Row>>;
  readonly keyOf: (row: Row) => string;
}

/** A person types faster than a list should be asked. */
const TYPING_MS = 150;

export function usePages<Row, Query>(options: PagedOptions<Row, Query>): PagedList<Row> {
  const list = new PageReader(options);
  let cancelTyping = () => {};
  watch(() => JSON.stringify(options.query()), () => {
    cancelTyping();
    cancelTyping = after(TYPING_MS, () => void list.reload());
  });
  onScopeDispose(() => {
    list.stop();
    cancelTyping();
  });
  void list.reload();
  return list;
}

class PageReader<Row, Query> implements PagedList<Row> {
  readonly items = shallowRef<readonly Row[]>([]);
  readonly count = shallowRef<number>();
  readonly error = shallowRef<ApiError>();
  readonly isReading = shallowRef(false);
  readonly isFirst = computed(() => !this.#hasRead.value && this.error.value === undefined);
  readonly hasMore = computed(() => this.#cursor.value !== null);
  readonly #options: PagedOptions<Row, Query>;
  readonly #hasRead = shallowRef(false);
  readonly #cursor = shallowRef<string | null>(null);
  /** Index of each row by its key. */
  #places = new Map<string, number>();
  #own = new AbortController();

  constructor(options: PagedOptions<Row, Query>) {
    this.#options = options;
  }

  reload = async (): Promise<void> => {
    await this.#read(true);
    // A page may be empty while there is more.
    if (this.items.value.length === 0) await this.more();
  };

  more = async (): Promise<void> => {
    const isAtEnd = this.#cursor.value === null;
    if (this.isReading.value || isAtEnd || this.error.value !== undefined) return;
    await this.#read(false);
    if (this.items.value.length === 0) await this.more();
  };

  patch = (key: string, change: (row: Row) => Row): void => {
    const at = this.#places.get(key);
    const row = at === undefined ? undefined : this.items.value[at];
    if (at === undefined || row === undefined) return;
    const changed = this.items.value.slice();
    changed[at] = change(row);
    this.items.value = changed;
  };

  stop(): void {
    this.#own.abort();
  }

  async #read(isStart: boolean): Promise<void> {
    this.#own.abort();
    const mine = this.#own = new AbortController();
    this.isReading.value = true;
    try {
      const cursor = isStart ? undefined : this.#cursor.value ?? undefined;
      const asked = { cursor, count: isStart };
      const page = await this.#options.read(this.#options.query(), asked, mine.signal);
      if (mine.signal.aborted) return;
      this.error.value = undefined;
      this.#hasRead.value = true;
      if (isStart) this.count.value = page.count ?? undefined;
      this.#cursor.value = page.nextCursor;
      this.#take(page.items, isStart);
    } catch (fault) {
      if (mine.signal.aborted) return;
      if (!(fault instanceof ApiError)) throw fault;
      this.error.value = fault;
    } finally {
      if (!mine.signal.aborted) this.isReading.value = false;
    }
  }

  /** A row may come twice while the list changes: it stays where it was. */
  #take(found: readonly Row[], isStart: boolean): void {
    const { keyOf } = this.#options;
    if (isStart) this.#places = new Map();
    const base = isStart ? [] : this.items.value;
    const fresh = found.filter((row) => !this.#places.has(keyOf(row)));
    fresh.forEach((row, at) => this.#places.set(keyOf(row), base.length + at));
    this.items.value = base.concat(fresh);
  }
}
