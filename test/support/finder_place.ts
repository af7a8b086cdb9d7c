/** A finder over files of its own beside a registry, and what is known of devices put into them. */
import { join } from "node:path";
import {
  type DeviceFinder,
  type FinderPaths,
  openDeviceFinder,
} from "../../actors/device/device_finder.ts";
import type { FinderBounds } from "../../actors/device/finder_walk.ts";
import type { PresenceRow, TimedValue } from "../../actors/device/messages.ts";
import { openPropertyIndex, type PropertyIndex } from "../../actors/device/property_index.ts";
import { openSqliteViews } from "../../actors/device/sqlite_views.ts";
import { PRESENCE, type ViewsStore } from "../../actors/device/views.ts";
import type { Clock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";

type Values = Readonly<Record<string, TimedValue>>;

export class FinderPlace implements AsyncDisposable {
  readonly paths: FinderPaths;
  readonly views: ViewsStore;
  readonly index: PropertyIndex;
  readonly finder: DeviceFinder & Disposable;

  /** @param folder Where `registry.db` is. */
  constructor(folder: string, clock: Clock, bounds?: FinderBounds) {
    const pathOf = (name: string) => join(folder, name);
    this.paths = {
      registry: pathOf("registry.db"),
      views: pathOf("views.db"),
      search: pathOf("search.db"),
    };
    this.views = openSqliteViews(this.paths.views);
    this.index = openPropertyIndex(this.paths.search, silentLogger);
    this.finder = openDeviceFinder(this.paths, clock, bounds);
  }

  /** By `{product}/{device}`; undefined: the row goes. */
  async show(rows: Iterable<readonly [string, PresenceRow | undefined]>): Promise<void> {
    const cursor = this.views.cursor + 1;
    const writes = [...rows].map(([key, row]) => {
      const write = { view: PRESENCE, key, version: cursor, at: 1 };
      return row === undefined ? write : { ...write, row: { ...row } };
    });
    await this.views.write({ writes, cursor });
  }

  /** Offline devices with the times when they were last heard of. */
  async see(times: Readonly<Record<string, number>>): Promise<void> {
    await this.show(
      Object.entries(times).map(([key, atMs]) =>
        [key, { online: false, session: null, atMs }] as const
      ),
    );
  }

  keep(values: Iterable<readonly [string, Values | undefined]>): void {
    this.index.write([...values].map(([key, values]) => ({ key, values })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.finder[Symbol.dispose]();
    this.index[Symbol.dispose]();
    await this.views[Symbol.asyncDispose]();
  }
}
