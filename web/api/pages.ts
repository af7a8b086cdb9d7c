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
  /** Takes a row out that is not there any more. */
  remove(key: string): void;
  /** Newer rows that wait to be shown: a list does not jump while one reads. */
  readonly fresh: Ref<number>;
  /** It may have changed in a way that was not told. */
  readonly isOutdated: Ref<boolean>;
  /** A row as it is now: a known one changes in place, a new one waits. */
  offer(row: Row): void;
  /** So many rows are new, of which no more is known. */
  hint(count: number): void;
  /** What was told has gaps: reads again if that makes nothing jump. */
  refresh(): void;
  /** Shows what waits. */
  showFresh(): Promise<void>;
}

export interface PagedOptions<Row, Query> {
  /** Filters and sort; a change reads from the start. */
  readonly query: () => Query;
  readonly read: (
    query: Query,
    page: { readonly cursor: string | undefined; readonly count: boolean },
    signal: AbortSignal,
  ) => Promise<Page<Row>>;
  /** Where counting takes longer than a page: asked when the first page is there, instead of with it. */
  readonly readCount?: (query: Query, signal: AbortSignal) => Promise<number | null | undefined>;
  readonly keyOf: (row: Row) => string;
}

/** A person types faster than a list should be asked. */
const TYPING_MS = 150;
/** Rows that wait; with more, the list is read again to show them. */
const WAITING_MAX = 200;

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
  readonly isOutdated = shallowRef(false);
  readonly fresh = computed(() => this.#waiting.value.length + this.#hinted.value);
  readonly #options: PagedOptions<Row, Query>;
  /** Newest first. */
  readonly #waiting = shallowRef<readonly Row[]>([]);
  readonly #hinted = shallowRef(0);
  readonly #hasRead = shallowRef(false);
  readonly #cursor = shallowRef<string | null>(null);
  /** More than one page was read. */
  #isDeep = false;
  /** Of which `count` is. */
  #counted: string | undefined;
  /** Index of each row by its key. */
  #places = new Map<string, number>();
  #own = new AbortController();
  #counting = new AbortController();

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

  remove = (key: string): void => {
    this.#waiting.value = this.#waiting.value.filter((row) => this.#options.keyOf(row) !== key);
    if (!this.#places.has(key)) return;
    this.#place(
      this.items.value.filter((row) => this.#options.keyOf(row) !== key),
    );
  };

  offer = (row: Row): void => {
    const { keyOf } = this.#options;
    const key = keyOf(row);
    if (this.#places.has(key)) return this.patch(key, () => row);
    const others = this.#waiting.value.filter((each) => keyOf(each) !== key);
    this.#waiting.value = [row, ...others].slice(0, WAITING_MAX);
    if (others.length >= WAITING_MAX) this.hint(1);
    if (this.items.value.length === 0 && this.#hasRead.value) {
      void this.showFresh();
    }
  };

  hint = (count: number): void => {
    this.#hinted.value = Math.max(0, this.#hinted.value + count);
  };

  refresh = (): void => {
    if (this.#isDeep) this.isOutdated.value = true;
    else void this.reload();
  };

  showFresh = async (): Promise<void> => {
    if (this.#hinted.value > 0 || this.isOutdated.value) {
      return await this.reload();
    }
    const waiting = this.#waiting.value;
    this.#waiting.value = [];
    this.#place([...waiting, ...this.items.value]);
  };

  stop(): void {
    this.#own.abort();
    this.#counting.abort();
  }

  async #read(isStart: boolean): Promise<void> {
    this.#own.abort();
    const mine = this.#own = new AbortController();
    this.isReading.value = true;
    const known = isStart ? new Set(this.#waiting.value) : undefined;
    const hinted = this.#hinted.value;
    const { read, readCount } = this.#options;
    try {
      const cursor = isStart ? undefined : this.#cursor.value ?? undefined;
      const query = this.#options.query();
      const asked = { cursor, count: isStart && readCount === undefined };
      const page = await read(query, asked, mine.signal);
      if (mine.signal.aborted) return;
      this.error.value = undefined;
      this.#hasRead.value = true;
      this.#isDeep = !isStart;
      if (known !== undefined) {
        if (readCount === undefined) this.count.value = page.count ?? undefined;
        else void this.#readCount(query);
        this.isOutdated.value = false;
        this.hint(-hinted);
        this.#waiting.value = this.#waiting.value.filter((row) => !known.has(row));
      }
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

  /** Until it is known, a count of other filters is not shown. */
  async #readCount(query: Query): Promise<void> {
    this.#counting.abort();
    const { signal } = this.#counting = new AbortController();
    const counted = JSON.stringify(query);
    if (counted !== this.#counted) this.count.value = undefined;
    this.#counted = counted;
    try {
      const count = await this.#options.readCount!(query, signal);
      if (!signal.aborted) this.count.value = count ?? undefined;
    } catch (fault) { // A list is of use without its count.
      if (!signal.aborted && !(fault instanceof ApiError)) throw fault;
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
    this.#waiting.value = this.#waiting.value.filter((row) => !this.#places.has(keyOf(row)));
  }

  #place(rows: readonly Row[]): void {
    this.#places = new Map(
      rows.map((row, at) => [this.#options.keyOf(row), at]),
    );
    this.items.value = rows;
  }
}
