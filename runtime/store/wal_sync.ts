/**
 * Makes what stands in a WAL durable without the thread that wrote it: commits of `synchronous=NORMAL`
 * are in the file, in order and with a chain of checksums, and lack nothing but `fdatasync`. Before a
 * checkpoint SQLite syncs the WAL itself.
 */
import { type FileHandle, open } from "node:fs/promises";
import { messageOf, UnavailableError } from "../errors.ts";

export class WalSync {
  readonly #path: string;
  #file: Promise<FileHandle> | undefined;

  /** @param path Of the database. */
  constructor(path: string) {
    this.#path = `${path}-wal`;
  }

  /**
   * Resolves when all that was committed before the call is durable. The file is there from the first
   * commit on until its last connection is closed; SQLite holds no locks on it that a close would drop.
   * @throws {UnavailableError} The disk refuses.
   */
  async sync(): Promise<void> {
    try {
      await (await this.#opened()).datasync();
    } catch (cause) {
      const message = `Cannot sync ${this.#path}: ${messageOf(cause)}`;
      throw new UnavailableError("database", message, { cause });
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await (await file)?.close();
  }

  async #opened(): Promise<FileHandle> {
    this.#file ??= open(this.#path, "r+");
    try {
      return await this.#file;
    } catch (fault) {
      this.#file = undefined;
      throw fault;
    }
  }
}
