/**
 * Live events out of the log. It follows the actors of the wanted devices and the views that topics
 * are made of; while nobody wants anything of it, the log's thread does nothing for it.
 */
import type { Clock } from "../../runtime/clock.ts";
import { messageOf, UnavailableError } from "../../runtime/errors.ts";
import type { Tail } from "../../runtime/log/log_tail.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { DeviceStandings } from "../device/device_standing.ts";
import { PRESENCE } from "../device/views.ts";
import type { LiveHub, LiveSource } from "./live_hub.ts";
import { CALLS, publishRecord } from "./log_events.ts";
import { type KeyedTopic, projectKey } from "./topics.ts";

export interface LogSourceOptions {
  readonly tail: Tail;
  readonly hub: LiveHub;
  readonly standings: Pick<DeviceStandings, "standing">;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RunningLogSource extends AsyncDisposable {
  /** Settles when the log is not followed any more, which a dispose does. */
  readonly done: Promise<void | { readonly fault: unknown }>;
}

const TYPES = ["device", "devices"] as const;
/** Longest that the log may take to follow another actor. */
const FOLLOW_MS = 2_000;

/** @throws {UnavailableError} The log does not answer. */
export async function startLogSource(options: LogSourceOptions): Promise<RunningLogSource> {
  const source = new LogSource(options);
  const done = source.run();
  try {
    await options.hub.attach(source);
  } catch (fault) {
    options.hub.detach(source);
    options.tail[Symbol.dispose]();
    throw fault;
  }
  return {
    done,
    async [Symbol.asyncDispose]() {
      source.stop();
      await done;
    },
  };
}

class LogSource implements LiveSource {
  readonly types = TYPES;
  readonly #options: LogSourceOptions;
  /** Wanted devices and projects. */
  readonly #addresses = new Set<string>();
  readonly #lists = new Set<string>();
  #added = new Set<string>();
  #removed = new Set<string>();
  /** The change that is told at the end of this turn. */
  #planned: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: LogSourceOptions) {
    this.#options = options;
  }

  follow(topics: readonly KeyedTopic[]): Promise<void> {
    for (const { key, topic } of topics) {
      if (topic.type !== "device") this.#lists.add(key);
      else if (!this.#addresses.has(key)) {
        this.#addresses.add(key);
        if (!this.#removed.delete(key)) this.#added.add(key);
      }
    }
    return this.#tell();
  }

  unfollow(topics: readonly KeyedTopic[]): void {
    for (const { key } of topics) {
      this.#lists.delete(key);
      if (!this.#addresses.delete(key)) continue;
      if (!this.#added.delete(key)) this.#removed.add(key);
    }
    const { logger } = this.#options;
    this.#tell().catch((fault) => { // It follows too much until it is started again.
      if (!this.#isStopped) logger.warn("live tail not narrowed", { fault: messageOf(fault) });
    });
  }

  async run(): Promise<void | { readonly fault: unknown }> {
    const { tail, hub, standings, logger } = this.#options;
    const ports = {
      publish: hub.publish.bind(hub),
      wants: hub.wants.bind(hub),
      standing: standings.standing,
      devicesKey: (project: string) => projectKey("devices", project),
    };
    try {
      while (!this.#isStopped) {
        const { records, missed } = await tail.take();
        if (missed > 0) hub.lose(TYPES, missed);
        for (const record of records) {
          try {
            publishRecord(record, ports);
          } catch (fault) { // One record that cannot be told must not keep the others.
            logger.warn("record not told live", { to: record.address, fault: messageOf(fault) });
          }
        }
      }
    } catch (fault) {
      this.#end();
      return { fault };
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#end();
  }

  #end(): void {
    this.#options.hub.detach(this);
    this.#options.tail[Symbol.dispose]();
  }

  /** All changes of one turn in one message: feeds come in hundreds, after a restart. */
  #tell(): Promise<void> {
    this.#planned ??= Promise.resolve().then(() => {
      this.#planned = undefined;
      const added = [...this.#added];
      const removed = [...this.#removed];
      this.#added = new Set();
      this.#removed = new Set();
      const views: string[] = [];
      if (this.#lists.size > 0) views.push(PRESENCE);
      if (this.#addresses.size > 0) views.push(CALLS);
      return this.#within(this.#options.tail.change({ added, removed, views }));
    });
    return this.#planned;
  }

  async #within(change: Promise<void>): Promise<void> {
    let cancel = () => {};
    const late = new Promise<never>((_, reject) => {
      const message = `The log did not answer within ${FOLLOW_MS} ms`;
      cancel = this.#options.clock.after(
        FOLLOW_MS,
        () => reject(new UnavailableError("log", message)),
      );
    });
    try {
      await Promise.race([change, late]);
    } finally {
      cancel();
    }
  }
}
