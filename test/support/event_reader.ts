/** Server-Sent Events as a browser reads them (WHATWG HTML, 9.2.6), one by one. */

export interface StreamEvent {
  /** Of this event; absent: it has none. */
  readonly id?: string;
  readonly event: string;
  // deno-lint-ignore no-explicit-any -- whatever JSON the server sent
  readonly data: any;
}

export class EventReader implements AsyncDisposable {
  /** Comment lines so far. */
  comments = 0;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = "";

  constructor(body: ReadableStream<Uint8Array>) {
    this.#reader = body.getReader();
  }

  /** Undefined: the stream has ended. Rejects if it broke. */
  async next(): Promise<StreamEvent | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n\n");
      if (end === -1) {
        const { done, value } = await this.#reader.read();
        if (done) return undefined;
        this.#text += this.#decoder.decode(value, { stream: true });
        continue;
      }
      const block = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 2);
      const event = this.#parse(block);
      if (event !== undefined) return event;
    }
  }

  /** The next one that is of this kind, or whose value is of this type. */
  async nextOf(kind: string): Promise<StreamEvent> {
    for (;;) {
      const event = await this.next();
      if (event === undefined) throw new Error(`The stream ended before "${kind}"`);
      if (event.event === kind || event.data.value?.type === kind) return event;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.cancel().catch(() => {}); // Broken or ended, it is over.
  }

  #parse(block: string): StreamEvent | undefined {
    let id: string | undefined;
    let event = "message";
    let data: string | undefined;
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      const name = colon === -1 ? line : line.slice(0, colon);
      const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (colon === 0) this.comments++;
      else if (name === "id") id = value;
      else if (name === "event") event = value;
      else if (name === "data") data = data === undefined ? value : `${data}\n${value}`;
    }
    if (data === undefined) return undefined;
    return { ...(id === undefined ? undefined : { id }), event, data: JSON.parse(data) };
  }
}
