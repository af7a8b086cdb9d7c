/**
 * The generator's own ledger: which messages were acknowledged, kept on disk apart from the product.
 * 8 bytes a message: u32 index of the device in the device list, u32 sequence number, little endian.
 */
const RECORD_BYTES = 8;
const BUFFER_RECORDS = 8_192;

export interface Acknowledged {
  readonly device: number;
  readonly sequence: number;
}

export class AcknowledgedWriter implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #bytes = new Uint8Array(BUFFER_RECORDS * RECORD_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  #used = 0;
  #isSynced = true;

  constructor(path: string) {
    this.#file = Deno.openSync(path, { write: true, create: true, append: true });
  }

  add(device: number, sequence: number): void {
    if (this.#used === this.#bytes.length) this.#flush();
    this.#view.setUint32(this.#used, device, true);
    this.#view.setUint32(this.#used + 4, sequence, true);
    this.#used += RECORD_BYTES;
  }

  /** Everything that was added is on disk when this returns. */
  sync(): void {
    this.#flush();
    if (!this.#isSynced) this.#file.syncDataSync();
    this.#isSynced = true;
  }

  [Symbol.dispose](): void {
    this.sync();
    this.#file.close();
  }

  #flush(): void {
    let at = 0;
    while (at < this.#used) at += this.#file.writeSync(this.#bytes.subarray(at, this.#used));
    if (this.#used > 0) this.#isSynced = false;
    this.#used = 0;
  }
}

/** All whole records of a ledger file, in order of acknowledgement. */
export function readAcknowledged(path: string): Acknowledged[] {
  const bytes = Deno.readFileSync(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const all: Acknowledged[] = [];
  for (let at = 0; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
    all.push({ device: view.getUint32(at, true), sequence: view.getUint32(at + 4, true) });
  }
  return all;
}
