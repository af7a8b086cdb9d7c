/** Decodes Server-Sent Events (HTML standard, 9.2.6) from text as it arrives. */

export interface StreamEvent {
  readonly event: string;
  readonly data: string;
  /** The newest id of the stream so far. */
  readonly id: string;
}

export class EventDecoder {
  #rest = "";
  #event = "";
  #lines: string[] = [];
  #id = "";

  push(text: string): StreamEvent[] {
    const found: StreamEvent[] = [];
    // A carriage return at the end may be half of a line end.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") this.#end(found);
      else this.#field(line);
    }
    return found;
  }

  #end(found: StreamEvent[]): void {
    if (this.#lines.length > 0) {
      found.push({
        event: this.#event || "message",
        data: this.#lines.join("\n"),
        id: this.#id,
      });
    }
    this.#event = "";
    this.#lines = [];
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#event = value;
    else if (name === "data") this.#lines.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
  }
}
