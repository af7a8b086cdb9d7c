/**
 * `Idempotency-Key` of devices: a post under a key is taken once. The keys of a device's last posts
 * stand in one gateway row, written in the append of the message itself: no crash parts them.
 *
 * A repeat is told what the first was by looking at the same body as of the same moment; what is kept
 * is small, since each post writes all of it.
 *
 * The caller's duties, in order:
 * 1. `postsOf` the device, which may have to be read.
 * 2. Without waiting in between, `find`; if there is none, `offer`.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Clock } from "../../runtime/clock.ts";
import { HTTP_LIMITS } from "../../runtime/http_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { type Ingress, type IngressTarget, untilDurable } from "../../runtime/log/ingress.ts";

export interface DeviceRepeatsPorts {
  readonly clock: Clock;
  readonly ingress: Pick<Ingress, "offered" | "settled" | "onSettled" | "offerWithRows">;
  /** A row of gateways, as far as it is durable. */
  readRow(key: string): Promise<Uint8Array | undefined>;
}

/** A key, and what was posted under it. Hashes, a character a byte. */
export interface PostName {
  readonly key: string;
  readonly print: string;
}

export interface KeyedPost extends PostName {
  /** When it was checked, epoch milliseconds. */
  readonly atMs: number;
  /** Points that were accepted. */
  readonly points: number;
  /** Append that carries it; 0: it was durable when it was read. */
  readonly append: number;
}

/** Row: a version, then of each post, oldest first, key, print, time (float64) and points (uint32). */
const VERSION = 1;
const HASH_BYTES = 16;
const POST_BYTES = 2 * HASH_BYTES + 8 + 4;

/** @param device `{product}/{device}`. */
export function keyedPostsRow(device: string): string {
  return `http-posts/${device}`;
}

/** @param topic What the path says, as it would be over MQTT. @param body As JSON. */
export function postNameOf(key: string, topic: string, body: Uint8Array): PostName {
  const print = createHash("sha256").update(`${topic}\n`).update(body);
  return { key: shortened(createHash("sha256").update(key)), print: shortened(print) };
}

function shortened(hash: ReturnType<typeof createHash>): string {
  return hash.digest().toString("latin1", 0, HASH_BYTES);
}

/** The last posts of one device that had keys. */
export class DevicePosts {
  readonly #ports: DeviceRepeatsPorts;
  readonly #row: string;
  #posts: readonly KeyedPost[];

  constructor(ports: DeviceRepeatsPorts, row: string, posts: readonly KeyedPost[]) {
    this.#ports = ports;
    this.#row = row;
    this.#posts = posts;
  }

  find({ key }: PostName): KeyedPost | undefined {
    const post = this.#posts.find((each) => each.key === key);
    return post !== undefined && this.#isKept(post) ? post : undefined;
  }

  /** Returns the append that carries the message and its key; undefined: there is no room. */
  offer(
    target: IngressTarget,
    parts: readonly Uint8Array[],
    post: Omit<KeyedPost, "append">,
  ): number | undefined {
    const before = this.#posts.filter((each) => each.key !== post.key && this.#isKept(each));
    const kept = before.slice(-(HTTP_LIMITS.keyedPostsMax - 1));
    const rows = [{ key: this.#row, value: encodePosts([...kept, post]) }];
    const append = this.#ports.ingress.offerWithRows(target, parts, rows);
    if (append !== undefined) this.#posts = [...kept, { ...post, append }];
    return append;
  }

  #isKept({ atMs }: Pick<KeyedPost, "atMs">): boolean {
    return this.#ports.clock.nowMs() - atMs < LIMITS.answersKeptMs;
  }
}

export class DeviceRepeats {
  readonly #ports: DeviceRepeatsPorts;
  /** By device, the least recently used first; those that are read, too. */
  readonly #devices = new Map<string, Promise<DevicePosts>>();

  constructor(ports: DeviceRepeatsPorts) {
    this.#ports = ports;
  }

  /** @param device `{product}/{device}`. Rejects if they cannot be read now. */
  postsOf(device: string): Promise<DevicePosts> {
    const known = this.#devices.get(device);
    this.#devices.delete(device);
    const posts = known ?? this.#read(device);
    this.#devices.set(device, posts);
    if (this.#devices.size > HTTP_LIMITS.keyedDevicesCachedMax) {
      this.#devices.delete(this.#devices.keys().next().value!);
    }
    return posts;
  }

  /** The device was deleted; its row goes with it. */
  forget(device: string): void {
    this.#devices.delete(device);
  }

  #read(device: string): Promise<DevicePosts> {
    const row = keyedPostsRow(device);
    const { ingress } = this.#ports;
    // What is on its way is not in the row yet, and may be forgotten here.
    const posts = untilDurable(ingress, ingress.offered).then(() => this.#ports.readRow(row))
      .then((value) => new DevicePosts(this.#ports, row, decodePosts(value)));
    posts.catch(() => {
      if (this.#devices.get(device) === posts) this.#devices.delete(device);
    });
    return posts;
  }
}

function encodePosts(posts: readonly Omit<KeyedPost, "append">[]): Uint8Array {
  const row = Buffer.alloc(1 + posts.length * POST_BYTES);
  row[0] = VERSION;
  posts.forEach(({ key, print, atMs, points }, index) => {
    const at = 1 + index * POST_BYTES;
    row.write(key + print, at, "latin1");
    row.writeDoubleBE(atMs, at + 2 * HASH_BYTES);
    row.writeUInt32BE(points, at + 2 * HASH_BYTES + 8);
  });
  return row;
}

/** None, if it is no row of this version. */
function decodePosts(value: Uint8Array | undefined): KeyedPost[] {
  if (value?.[0] !== VERSION || (value.length - 1) % POST_BYTES !== 0) return [];
  const row = Buffer.from(value.buffer, value.byteOffset, value.length);
  return Array.from({ length: (row.length - 1) / POST_BYTES }, (_, index) => {
    const at = 1 + index * POST_BYTES;
    return {
      key: row.toString("latin1", at, at + HASH_BYTES),
      print: row.toString("latin1", at + HASH_BYTES, at + 2 * HASH_BYTES),
      atMs: row.readDoubleBE(at + 2 * HASH_BYTES),
      points: row.readUInt32BE(at + 2 * HASH_BYTES + 8),
      append: 0,
    };
  });
}
